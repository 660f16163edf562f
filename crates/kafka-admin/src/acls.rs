//! Access rules: list, add, remove. Allowing rules from any host only; nobody here writes others.

use kafka_wire::ApiKey;
use kafka_wire::messages::create_acls::AclCreation;
use kafka_wire::messages::delete_acls::DeleteAclsFilter;
use kafka_wire::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use crate::admin::Admin;
use crate::error::{AdminError, check};
use crate::topics::silent;

/// Filters with this value match everything.
const ANY: i8 = 1;
const PERMISSION_ALLOW: i8 = 3;
const ANY_HOST: &str = "*";

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// Topics.
    Topic,
    /// Consumer groups.
    Group,
    /// The cluster itself.
    Cluster,
    /// Transactional ids.
    TransactionalId,
}

impl ResourceKind {
    const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Group => 3,
            Self::Cluster => 4,
            Self::TransactionalId => 5,
        }
    }

    const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            3 => Some(Self::Group),
            4 => Some(Self::Cluster),
            5 => Some(Self::TransactionalId),
            _ => None,
        }
    }
}

/// How a rule's name is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// Exactly; `*` is every name.
    Literal,
    /// As the beginning of names.
    Prefixed,
}

impl Pattern {
    const fn code(self) -> i8 {
        match self {
            Self::Literal => 3,
            Self::Prefixed => 4,
        }
    }

    const fn from_code(code: i8) -> Option<Self> {
        match code {
            3 => Some(Self::Literal),
            4 => Some(Self::Prefixed),
            _ => None,
        }
    }
}

/// What a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Everything.
    All,
    /// Fetch, join, commit.
    Read,
    /// Produce.
    Write,
    /// Make topics.
    Create,
    /// Delete.
    Delete,
    /// Change, for example the number of partitions.
    Alter,
    /// Ask for metadata and offsets.
    Describe,
    /// Act for the cluster.
    ClusterAction,
    /// Read settings.
    DescribeConfigs,
    /// Change settings.
    AlterConfigs,
    /// Produce with idempotence.
    IdempotentWrite,
}

/// Kafka's numbers of the operations.
const OPERATIONS: [(i8, Operation); 11] = [
    (2, Operation::All),
    (3, Operation::Read),
    (4, Operation::Write),
    (5, Operation::Create),
    (6, Operation::Delete),
    (7, Operation::Alter),
    (8, Operation::Describe),
    (9, Operation::ClusterAction),
    (10, Operation::DescribeConfigs),
    (11, Operation::AlterConfigs),
    (12, Operation::IdempotentWrite),
];

impl Operation {
    fn code(self) -> i8 {
        OPERATIONS.iter().find(|(_, operation)| *operation == self).map_or(0, |(code, _)| *code)
    }

    fn from_code(code: i8) -> Option<Self> {
        OPERATIONS.iter().find(|(number, _)| *number == code).map(|(_, operation)| *operation)
    }
}

/// A rule that allows one operation to one principal from any host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// What it is about.
    pub resource: ResourceKind,
    /// Its name, or the beginning of names.
    pub name: String,
    /// How the name is meant.
    pub pattern: Pattern,
    /// `User:NAMESPACE/SERVICEACCOUNT`.
    pub principal: String,
    /// What it allows.
    pub operation: Operation,
}

/// Which rules to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclFilter {
    /// About what; `None` is anything.
    pub resource: Option<ResourceKind>,
    /// With exactly this name; `None` is any.
    pub name: Option<String>,
    /// For this principal; `None` is any.
    pub principal: Option<String>,
}

impl Admin {
    /// The allowing rules that match, sorted. Rules of other kinds (denying, other hosts) are not ours and left out.
    pub async fn describe_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, AdminError> {
        let request = DescribeAclsRequest {
            resource_type_filter: filter.resource.map_or(ANY, ResourceKind::code),
            resource_name_filter: filter.name.clone(),
            pattern_type_filter: ANY,
            principal_filter: filter.principal.clone(),
            host_filter: None,
            operation: ANY,
            permission_type: ANY,
        };
        let answer = self.call(request).await?;
        check(answer.error_code, answer.error_message, || "list access rules".to_owned())?;
        let mut found = Vec::new();
        for resource in answer.resources {
            let kind = ResourceKind::from_code(resource.resource_type);
            let pattern = Pattern::from_code(resource.pattern_type);
            let (Some(kind), Some(pattern)) = (kind, pattern) else { continue };
            for acl in resource.acls {
                let ours = acl.permission_type == PERMISSION_ALLOW && acl.host == ANY_HOST;
                let Some(operation) = Operation::from_code(acl.operation).filter(|_| ours) else { continue };
                let name = resource.resource_name.clone();
                found.push(Acl { resource: kind, name, pattern, principal: acl.principal, operation });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Adds rules; adding one that is there changes nothing. Stops being silent at the first refusal.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<(), AdminError> {
        if acls.is_empty() {
            return Ok(());
        }
        let creations = acls.iter().map(|acl| AclCreation {
            resource_type: acl.resource.code(),
            resource_name: acl.name.clone(),
            resource_pattern_type: acl.pattern.code(),
            principal: acl.principal.clone(),
            host: ANY_HOST.to_owned(),
            operation: acl.operation.code(),
            permission_type: PERMISSION_ALLOW,
        });
        let answer = self.call(CreateAclsRequest { creations: creations.collect() }).await?;
        if answer.results.len() != acls.len() {
            return Err(silent(ApiKey::CreateAcls, "every access rule"));
        }
        answer.results.into_iter().zip(acls).try_for_each(|(result, acl)| {
            check(result.error_code, result.error_message, || format!("allow {acl}"))
        })
    }

    /// Removes exactly these rules; removing one that is not there changes nothing.
    pub async fn delete_acls(&self, acls: &[Acl]) -> Result<(), AdminError> {
        if acls.is_empty() {
            return Ok(());
        }
        let filters = acls.iter().map(|acl| DeleteAclsFilter {
            resource_type_filter: acl.resource.code(),
            resource_name_filter: Some(acl.name.clone()),
            pattern_type_filter: acl.pattern.code(),
            principal_filter: Some(acl.principal.clone()),
            host_filter: Some(ANY_HOST.to_owned()),
            operation: acl.operation.code(),
            permission_type: PERMISSION_ALLOW,
        });
        let answer = self.call(DeleteAclsRequest { filters: filters.collect() }).await?;
        if answer.filter_results.len() != acls.len() {
            return Err(silent(ApiKey::DeleteAcls, "every access rule"));
        }
        answer.filter_results.into_iter().zip(acls).try_for_each(|(result, acl)| {
            let action = || format!("no longer allow {acl}");
            check(result.error_code, result.error_message, action)?;
            result
                .matching_acls
                .into_iter()
                .try_for_each(|removed| check(removed.error_code, removed.error_message, action))
        })
    }
}

impl std::fmt::Display for Acl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, name, pattern, principal, operation } = self;
        write!(formatter, "{principal} to {operation:?} {resource:?} {name:?} ({pattern:?})")
    }
}
