//! The two calls: `Certify` with server TLS alone, `Follow` with the caller's own certificate.

use crate::listen::Caller;
use crate::review::{ReviewError, TokenReviewer};
use crate::serve::Settings;
use crate::state::{Slot, State};
use crate::translate;
use control::index::Link;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use proto::control as wire;
use proto::control::control_server::Control;
use runtime::tasks::{TaskGuard, Tasks};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, Streaming};

/// How long the first report may take.
const FIRST_REPORT_DEADLINE: Duration = Duration::from_secs(10);
/// The longest token, in bytes; a projected one takes about 1 200.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

pub(crate) struct Service {
    pub(crate) state: Arc<State>,
    pub(crate) reviewer: Arc<dyn TokenReviewer>,
    pub(crate) settings: Settings,
    pub(crate) tasks: Tasks,
}

impl Service {
    async fn certify_for(&self, request: wire::CertifyRequest) -> Result<wire::CertifyResponse, Status> {
        if request.token.len() > TOKEN_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "the token is longer than {TOKEN_BYTES_MAX} bytes"
            )));
        }
        let identity = self.reviewer.review(&request.token).await.map_err(|error| match error {
            ReviewError::Refused(_) => Status::unauthenticated(error.to_string()),
            ReviewError::Unavailable(_) => Status::unavailable(error.to_string()),
        })?;
        let authority = self.state.authority();
        let issued = authority
            .sign_request(
                &request.csr,
                (&identity, self.settings.certificate_lifetime),
                runtime::clock::unix_seconds(),
            )
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        tracing::info!(%identity, not_after = issued.not_after, "certificate issued");
        Ok(wire::CertifyResponse {
            certificate_chain_pem: issued.chain_pem,
            trust_bundle_pem: authority.bundle_pem(),
            not_after: issued.not_after,
            trust_domain: authority.trust_domain().to_owned(),
        })
    }

    fn read_report(&self, report: wire::Report) -> Result<(String, control::index::Report), Status> {
        self.state.metrics.reports.inc();
        translate::report(report, self.settings.channels_per_report_max).map_err(Status::invalid_argument)
    }

    async fn join(
        &self,
        caller: Option<Caller>,
        reports: &mut Streaming<wire::Report>,
    ) -> Result<(Link, Slot), Status> {
        let Some(identity) = caller.and_then(|caller| caller.identity) else {
            return Err(Status::unauthenticated(
                "Follow needs the certificate that Certify gave: connect again with it",
            ));
        };
        let first = tokio::time::timeout(FIRST_REPORT_DEADLINE, reports.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no report came"))??
            .ok_or_else(|| Status::invalid_argument("the first report must come first"))?;
        let (sidecar, report) = self.read_report(first)?;
        if !self.state.has_room(&sidecar, self.settings.sidecars_max) {
            return Err(Status::resource_exhausted(format!(
                "the control plane follows {} sidecars and takes no more",
                self.settings.sidecars_max
            )));
        }
        self.state
            .open(|index| index.connect(&sidecar, identity, report))
            .map_err(|error| Status::permission_denied(error.to_string()))?
            .ok_or_else(|| Status::unavailable("the control plane is closing: connect again"))
    }

    /// Reads reports until the stream ends, then lets the sidecar linger.
    fn spawn_reader(&self, link: Link, mut reports: Streaming<wire::Report>) -> TaskGuard {
        let (state, channels_max) = (Arc::clone(&self.state), self.settings.channels_per_report_max);
        self.tasks.spawn_guarded("reports", async move {
            loop {
                let problem = match reports.message().await {
                    Ok(Some(report)) => {
                        state.metrics.reports.inc();
                        match translate::report(report, channels_max) {
                            Ok((_, report)) => {
                                state.change(|index| index.report(&link, report));
                                continue;
                            }
                            Err(problem) => problem,
                        }
                    }
                    Ok(None) => "it closed its stream".to_owned(),
                    Err(status) => status.message().to_owned(),
                };
                tracing::debug!(sidecar = link.sidecar(), problem, "sidecar's reports ended");
                break;
            }
            state.close_slot(&link);
        })
    }
}

/// What comes into a slot, with what is in it already: the first view may have come before anybody reads.
pub(crate) fn views_of(slot: Slot) -> BoxStream<'static, wire::View> {
    WatchStream::new(slot)
        .filter_map(|view| std::future::ready(view.map(|view| translate::view(&view))))
        .boxed()
}

/// The views of one sidecar; dropping it says that the sidecar is away.
struct Following {
    views: BoxStream<'static, wire::View>,
    state: Arc<State>,
    link: Link,
    _reader: TaskGuard,
}

impl Stream for Following {
    type Item = Result<wire::View, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.views.poll_next_unpin(context).map(|view| {
            let view = view?;
            self.state.metrics.views_sent.inc();
            Some(Ok(view))
        })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.state.close_slot(&self.link);
    }
}

#[tonic::async_trait]
impl Control for Service {
    async fn certify(
        &self,
        request: Request<wire::CertifyRequest>,
    ) -> Result<Response<wire::CertifyResponse>, Status> {
        let answer = self.certify_for(request.into_inner()).await;
        let result = match &answer {
            Ok(_) => "issued",
            Err(status) if status.code() == tonic::Code::Unauthenticated => "refused",
            Err(status) if status.code() == tonic::Code::Unavailable => "unavailable",
            Err(_) => "invalid",
        };
        if let Err(status) = &answer {
            tracing::warn!(reason = status.message(), "certificate refused");
        }
        self.state.metrics.certificates.with_label_values(&[result]).inc();
        answer.map(Response::new)
    }

    type FollowStream = BoxStream<'static, Result<wire::View, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<wire::Report>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let mut reports = request.into_inner();
        let (link, slot) = self.join(caller, &mut reports).await?;
        tracing::info!(sidecar = link.sidecar(), "sidecar follows");
        let views = views_of(slot);
        let reader = self.spawn_reader(link.clone(), reports);
        let following = Following { views, state: Arc::clone(&self.state), link, _reader: reader };
        Ok(Response::new(following.boxed()))
    }
}
