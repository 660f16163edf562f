//! Settings of topics and brokers: read, change one by one.

use std::collections::BTreeMap;

use kafka_wire::ApiKey;
use kafka_wire::messages::describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult};
use kafka_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use kafka_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::admin::Admin;
use crate::error::{AdminError, check};
use crate::topics::silent;

const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;

/// What has settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by id.
    Broker(i32),
}

impl ConfigResource {
    const fn kind(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) => 4,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) => name.clone(),
            Self::Broker(id) => id.to_string(),
        }
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(formatter, "topic {name}"),
            Self::Broker(id) => write!(formatter, "broker {id}"),
        }
    }
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic,
    /// Set on the broker while it runs, on it or on all.
    DynamicBroker,
    /// The broker's configuration file.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// Something this version does not know.
    Other(i8),
}

impl ConfigSource {
    const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 | 3 => Self::DynamicBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            other => Self::Other(other),
        }
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it is a secret or unset.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can only be changed in the broker's configuration file.
    pub read_only: bool,
}

impl Admin {
    /// The settings of one topic or broker: all, or those named.
    pub async fn describe_config(
        &self,
        resource: &ConfigResource,
        names: Option<Vec<String>>,
    ) -> Result<Vec<ConfigEntry>, AdminError> {
        let described = self.describe_configs(std::slice::from_ref(resource), names).await?.pop();
        described.ok_or_else(|| silent(ApiKey::DescribeConfigs, &resource.to_string()))?
    }

    /// The settings of several topics or brokers, in the order asked for: all, or those named.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        names: Option<Vec<String>>,
    ) -> Result<Vec<Result<Vec<ConfigEntry>, AdminError>>, AdminError> {
        let asked = resources.iter().map(|resource| DescribeConfigsResource {
            resource_type: resource.kind(),
            resource_name: resource.name(),
            configuration_keys: names.clone(),
        });
        let request = DescribeConfigsRequest { resources: asked.collect(), ..Default::default() };
        let results = self.call(request).await?.results.into_iter();
        let mut found: BTreeMap<_, _> =
            results.map(|result| ((result.resource_type, result.resource_name.clone()), result)).collect();
        let described = resources.iter().map(|resource| {
            let result = found.remove(&(resource.kind(), resource.name()));
            let result = result.ok_or_else(|| silent(ApiKey::DescribeConfigs, &resource.to_string()))?;
            check(result.error_code, result.error_message, || {
                format!("describe the settings of {resource}")
            })?;
            Ok(result.configs.into_iter().map(to_entry).collect())
        });
        Ok(described.collect())
    }

    /// What was set on a topic itself, without anybody's defaults.
    pub async fn topic_overrides(&self, topic: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let resource = ConfigResource::Topic(topic.to_owned());
        let entries = self.describe_config(&resource, None).await?.into_iter();
        let own = entries.filter(|entry| entry.source == ConfigSource::Topic);
        Ok(own.filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }

    /// Changes settings one by one; `None` goes back to the broker's default. All of them or none.
    pub async fn alter_config(
        &self,
        resource: &ConfigResource,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<(), AdminError> {
        let configs = changes.into_iter().map(|(name, value)| AlterableConfig {
            name,
            config_operation: if value.is_some() { OPERATION_SET } else { OPERATION_DELETE },
            value,
        });
        let changed = AlterConfigsResource {
            resource_type: resource.kind(),
            resource_name: resource.name(),
            configs: configs.collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![changed], validate_only: false };
        let result = self.call(request).await?.responses.pop();
        let result = result.ok_or_else(|| silent(ApiKey::IncrementalAlterConfigs, &resource.to_string()))?;
        check(result.error_code, result.error_message, || format!("change the settings of {resource}"))
    }
}

fn to_entry(answer: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: answer.name,
        value: answer.value.filter(|_| !answer.is_sensitive),
        source: ConfigSource::from_code(answer.config_source),
        read_only: answer.read_only,
    }
}
