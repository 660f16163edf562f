//! What the operator serves: the whole cluster, or one namespace and nothing else. Whoever reads from Kubernetes asks
//! here how far; nobody else knows.

use kube::{Api, Client, Resource, core::NamespaceResourceScope};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    #[default]
    Cluster,
    /// This one.
    Namespace(String),
}

impl Scope {
    /// The namespace of a flag; empty is all of them.
    #[must_use]
    pub fn of(namespace: &str) -> Self {
        if namespace.is_empty() { Self::Cluster } else { Self::Namespace(namespace.to_owned()) }
    }

    /// Whether objects of a namespace are ours to look at.
    #[must_use]
    pub fn serves(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|own| own == namespace)
    }

    /// The one namespace that is served; `None` when all are.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }

    /// Why nothing of a namespace can be used; `None` when it can.
    #[must_use]
    pub fn outside(&self, namespace: &str) -> Option<String> {
        let own = self.namespace().filter(|own| *own != namespace)?;
        Some(format!(
            "this operator serves namespace {own} alone (chart value scope: Namespaced), and not {namespace}"
        ))
    }

    /// The objects of a kind that are served.
    pub(crate) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: without a namespace all are served; with one, no other is, and whoever asks for another is told which it is.
    #[test]
    fn one_namespace_or_all() {
        let all = Scope::of("");
        assert!(all.serves("shop") && all.outside("shop").is_none() && all.namespace().is_none());
        let one = Scope::of("shop");
        assert!(one.serves("shop") && !one.serves("shop-2") && !one.serves(""));
        assert_eq!(one.outside("shop"), None);
        let told = one.outside("infra").unwrap();
        assert!(told.contains("serves namespace shop alone") && told.contains("not infra"), "{told}");
    }
}
