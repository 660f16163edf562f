//! The Helm chart: what it renders, what it refuses, and that its CRDs are the generated ones. And the manifests and
//! values that the documents show.
//! Uses the very helm that the test cluster uses; `PINNACE_GENERATE=1` writes the goldens anew.

#[cfg(test)]
#[path = "chart/dashboards.rs"]
mod dashboards;
#[cfg(test)]
#[path = "chart/documents.rs"]
mod documents;
#[cfg(test)]
#[path = "chart/helm.rs"]
mod helm;
#[cfg(test)]
#[path = "chart/namespaced.rs"]
mod namespaced;
#[cfg(test)]
#[path = "chart/objects.rs"]
mod objects;
#[cfg(test)]
#[path = "chart/renders.rs"]
mod renders;
#[cfg(test)]
#[path = "chart/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "chart/values.rs"]
mod values;
