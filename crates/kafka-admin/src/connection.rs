//! One connection to one broker: plain or TLS, one call at a time, versions negotiated at the start.
//!
//! Knows frames and versions, and nothing of what the calls mean.

use std::collections::HashMap;
use std::io;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use kafka_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_wire::{ApiKey, ErrorCode, Message, Reader, Request, ResponseHeader, frame};
use runtime::tls::Expect;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::admin::{Security, Settings};
use crate::error::AdminError;

/// Bytes of an answer that we are ready to take: a Metadata answer about 200 000 partitions is below it.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A plain socket or TLS over one.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection whose broker has told what it serves.
pub(crate) struct Connection {
    address: String,
    client_id: String,
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    versions: HashMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Connection {
    /// Dials `address`, shakes hands and asks for the versions. The caller sets the deadline.
    pub(crate) async fn open(address: &str, settings: &Settings) -> Result<Self, AdminError> {
        let failed = |source: io::Error| AdminError::Connect { address: address.to_owned(), source };
        let (host, _port) =
            address.rsplit_once(':').ok_or_else(|| AdminError::Address(address.to_owned()))?;
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Stream> = match &settings.security {
            Security::Plain => Box::new(tcp),
            Security::Tls { credentials, server_names } => {
                let names =
                    if server_names.is_empty() { vec![host.to_owned()] } else { server_names.clone() };
                let config = credentials
                    .client_config(Expect::Names(names), &[])
                    .map_err(|source| AdminError::Credentials { address: address.to_owned(), source })?;
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|_| AdminError::Address(address.to_owned()))?;
                Box::new(tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map_err(failed)?)
            }
        };
        let mut connection = Self {
            address: address.to_owned(),
            client_id: settings.client_id.clone(),
            stream,
            buffer: BytesMut::new(),
            versions: HashMap::new(),
            correlation_id: 0,
        };
        connection.negotiate().await?;
        Ok(connection)
    }

    /// Asks in our newest version, and again in the oldest when the broker does not have that.
    async fn negotiate(&mut self) -> Result<(), AdminError> {
        let request = ApiVersionsRequest {
            client_software_name: self.client_id.clone(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut version = ApiVersionsRequest::VERSION_MAX;
        loop {
            let api = ApiKey::ApiVersions;
            let frame = self.exchange(&request, version).await?;
            let mut reader = Reader::new(frame);
            ResponseHeader::decode(&mut reader, api, version)
                .map_err(|error| AdminError::decode(api, &error))?;
            let code = reader.clone().int16().unwrap_or_default();
            if code == ErrorCode::UnsupportedVersion.code() && version > ApiVersionsRequest::VERSION_MIN {
                version = ApiVersionsRequest::VERSION_MIN;
                continue;
            }
            let answer = ApiVersionsResponse::decode(&mut reader, version)
                .map_err(|error| AdminError::decode(api, &error))?;
            crate::error::check(answer.error_code, None, || "tell its API versions".to_owned())?;
            self.versions =
                answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
            return Ok(());
        }
    }

    /// The newest version of `R` that both sides speak.
    pub(crate) fn version<R: Request>(&self) -> Result<i16, AdminError> {
        let theirs = self.versions.get(&R::API_KEY.code()).copied();
        let ours = (R::VERSION_MIN, R::VERSION_MAX);
        let common = theirs.map(|(first, last)| (first.max(ours.0), last.min(ours.1)));
        match common {
            Some((first, last)) if first <= last => Ok(last),
            _ => Err(AdminError::Unsupported { api: R::API_KEY, ours, theirs }),
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, AdminError> {
        let frame = self.exchange(request, version).await?;
        let (_header, answer) = frame::decode_response::<R>(frame, version)
            .map_err(|error| AdminError::decode(R::API_KEY, &error))?;
        Ok(answer)
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, AdminError> {
        let api = R::API_KEY;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let encoded = frame::request(request, version, self.correlation_id, Some(&self.client_id))
            .map_err(|source| AdminError::Encode { api, source })?;
        let answer = self
            .write_and_read(encoded.into_bytes())
            .await
            .map_err(|source| AdminError::Broken { address: self.address.clone(), api, source })?;
        let correlation_id = Reader::new(answer.clone()).int32().ok();
        if correlation_id != Some(self.correlation_id) {
            let reason = format!("correlation id {correlation_id:?}, {} expected", self.correlation_id);
            return Err(AdminError::Protocol { api, reason });
        }
        Ok(answer)
    }

    async fn write_and_read(&mut self, request: Bytes) -> io::Result<Bytes> {
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        loop {
            let split = frame::split(&mut self.buffer, ANSWER_BYTES_MAX);
            if let Some(answer) = split.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                return Ok(answer);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Gives the connection back unless the broker closed it or says things that nobody asked for.
    pub(crate) fn unless_stale(mut self) -> Option<Self> {
        let silent =
            self.buffer.is_empty() && self.stream.read_buf(&mut self.buffer).now_or_never().is_none();
        silent.then_some(self)
    }
}
