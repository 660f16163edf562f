//! Who may publish and who may subscribe. Pure evaluation; enforcement is the sidecars' and the broker's.
#![expect(unreachable_pub, reason = "KubeSchema repeats each public struct inside a function")]

use crate::{
    field::FieldError,
    names::{NamespaceName, ServiceAccountName},
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most entries in one list.
pub const ENTRIES_MAX: usize = 256;

/// Who may do what. A list that is omitted means every service account of the object's own namespace; an empty list means nobody.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// What becomes of a service account that a list leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AccessMode>,
    /// Who may publish. Omitted: every service account of this namespace. Empty: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub publish: Option<Vec<Grantee>>,
    /// Who may subscribe. Omitted: every service account of this namespace. Empty: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub subscribe: Option<Vec<Grantee>>,
}

/// What becomes of a service account that a list leaves out: `Enforce` refuses it; `Audit` lets it through, whatever its namespace, and has the sidecars of both ends count it (`pinnace_access_audited_total`) and log it, so that the lists can be tried before they act. For Channels; on a Topic `Audit` is refused, since the broker decides there. Default: Enforce.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum AccessMode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is let through, counted and logged.
    Audit,
}

/// One service account, or all of a namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.serviceAccount) || has(self.__namespace__)").message("name a serviceAccount, a namespace, or both")
)]
pub struct Grantee {
    /// The service account. Omitted: every service account of `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountName>,
    /// The namespace of the service account. Omitted: this object's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceName>,
}

/// What an app wants to do with a Topic or Channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Send messages.
    Publish,
    /// Receive messages.
    Subscribe,
}

impl Action {
    /// The field of `spec.access` that grants it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Publish => "spec.access.publish",
            Self::Subscribe => "spec.access.subscribe",
        }
    }
}

/// A grant with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Namespace of the service account.
    pub namespace: String,
    /// The service account; `None` is every one of the namespace.
    pub service_account: Option<String>,
}

impl Grant {
    /// Whether it covers this service account.
    #[must_use]
    pub fn covers(&self, namespace: &str, service_account: &str) -> bool {
        self.namespace == namespace
            && self.service_account.as_deref().is_none_or(|granted| granted == service_account)
    }

    /// Kafka's name of the principal, `NS/SA` or `NS/*`.
    #[must_use]
    pub fn principal(&self) -> String {
        format!("{}/{}", self.namespace, self.service_account.as_deref().unwrap_or("*"))
    }
}

/// Whether the lists are only tried: who is in none of them is let through.
#[must_use]
pub fn is_audited(access: Option<&Access>) -> bool {
    access.is_some_and(|access| access.mode == Some(AccessMode::Audit))
}

/// All grants of an object in `own_namespace` for one action, sorted, each once.
#[must_use]
pub fn grants(access: Option<&Access>, own_namespace: &str, action: Action) -> Vec<Grant> {
    let list = access.and_then(|access| match action {
        Action::Publish => access.publish.as_ref(),
        Action::Subscribe => access.subscribe.as_ref(),
    });
    let Some(list) = list else {
        return vec![Grant { namespace: own_namespace.to_owned(), service_account: None }];
    };
    let mut grants: Vec<Grant> = list
        .iter()
        .map(|grantee| Grant {
            namespace: grantee.namespace.as_ref().map_or(own_namespace, |name| name.as_str()).to_owned(),
            service_account: grantee.service_account.as_ref().map(ToString::to_string),
        })
        .collect();
    grants.sort();
    grants.dedup();
    grants
}

/// Whether a service account may do this with an object in `own_namespace`.
#[must_use]
pub fn allows(
    access: Option<&Access>,
    own_namespace: &str,
    action: Action,
    (namespace, service_account): (&str, &str),
) -> bool {
    grants(access, own_namespace, action).iter().any(|grant| grant.covers(namespace, service_account))
}

/// Everything that is wrong with the lists themselves.
#[must_use]
pub fn validate(access: Option<&Access>) -> Vec<FieldError> {
    let lists = access.map(|access| {
        [
            ("spec.access.publish", access.publish.as_ref()),
            ("spec.access.subscribe", access.subscribe.as_ref()),
        ]
    });
    let mut errors = Vec::new();
    for (field, list) in lists.into_iter().flatten().filter_map(|(field, list)| Some((field, list?))) {
        if list.len() > ENTRIES_MAX {
            errors.push(FieldError::new(
                field,
                format!("at most {ENTRIES_MAX} entries; name a whole namespace instead"),
            ));
        }
        for (index, grantee) in list.iter().enumerate() {
            if grantee.service_account.is_none() && grantee.namespace.is_none() {
                errors.push(FieldError::new(
                    format!("{field}[{index}]"),
                    "name a serviceAccount, a namespace, or both",
                ));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: omitted, empty and filled lists mean what the documentation says.
    #[test]
    fn access_is_evaluated() {
        let access: Access = serde_yaml::from_str(
            "{publish: [{serviceAccount: checkout}, {serviceAccount: billing, namespace: finance}, {namespace: lab}]}",
        )
        .unwrap();
        let may = |action, who| allows(Some(&access), "shop", action, who);
        assert!(may(Action::Publish, ("shop", "checkout")));
        assert!(!may(Action::Publish, ("shop", "other")));
        assert!(may(Action::Publish, ("finance", "billing")));
        assert!(!may(Action::Publish, ("finance", "checkout")));
        assert!(may(Action::Publish, ("lab", "any")));
        assert!(may(Action::Subscribe, ("shop", "any")) && !may(Action::Subscribe, ("lab", "any")));
        assert!(allows(None, "shop", Action::Publish, ("shop", "any")));
        assert!(!allows(None, "shop", Action::Publish, ("lab", "any")));
        let nobody: Access = serde_yaml::from_str("{subscribe: []}").unwrap();
        assert!(!allows(Some(&nobody), "shop", Action::Subscribe, ("shop", "any")));
        assert_eq!(grants(Some(&access), "shop", Action::Publish)[2].principal(), "shop/checkout");
        assert_eq!(grants(None, "shop", Action::Publish)[0].principal(), "shop/*");
    }

    /// Goal: lists are enforced unless the object says otherwise, and no other word passes for it.
    #[test]
    fn lists_are_enforced_unless_audited() {
        let audited = |text| serde_yaml::from_str::<Access>(text).map(|access| is_audited(Some(&access)));
        assert!(!audited("{}").unwrap() && !audited("{mode: Enforce}").unwrap());
        assert!(audited("{mode: Audit, publish: []}").unwrap() && !is_audited(None));
        assert!(audited("{mode: audit}").is_err());
    }
}
