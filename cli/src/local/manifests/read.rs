//! Documents → objects. What cannot be read keeps the object that was there before.

use super::documents::{Document, Wrong, decode, split};
use super::locate::line_of;
use super::workload::{Deployment, Outcome, understand};
use super::{Manifests, Problem};
use api::field::FieldError;
use control::ObjectName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: HeadMetadata,
}

#[derive(Default, Deserialize)]
struct HeadMetadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
}

struct Context<'a> {
    file: &'a str,
    found: Manifests,
    before: &'a Manifests,
}

/// Reads all files; `before` is what the last reading found.
pub(super) fn read(files: &[super::File], before: &Manifests) -> Manifests {
    let mut found = Manifests::default();
    for (file, text) in files {
        let mut context = Context { file, found, before };
        match text {
            Ok(text) => split(text).into_iter().for_each(|document| context.document(document)),
            Err(error) => {
                context.problem(Wrong { line: 1, field: String::new(), text: error.clone() }, "");
                context.keep_file();
            }
        }
        found = context.found;
    }
    check_together(&mut found);
    super::quota::check(&mut found, before);
    found
}

impl Context<'_> {
    fn problem(&mut self, wrong: Wrong, object: &str) {
        let field = [object, &wrong.field].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        self.found.problems.push(Problem {
            file: self.file.to_owned(),
            line: wrong.line,
            field: field.join(": "),
            text: wrong.text,
        });
    }

    fn document(&mut self, document: Document<'_>) {
        let head: Head = match decode(document) {
            Ok(head) => head,
            Err(wrong) => {
                self.problem(wrong, "");
                return self.keep_file();
            }
        };
        let namespace = head.metadata.namespace.unwrap_or_else(|| "default".to_owned());
        let name = ObjectName::new(namespace, head.metadata.name);
        let group_and_kind = (head.api_version.as_str(), head.kind.as_str());
        let kind = match group_and_kind {
            (api::API_VERSION, "Topic") => "Topic",
            (api::API_VERSION, "Channel") => "Channel",
            (api::API_VERSION, "Broker") => "Broker",
            (api::API_VERSION, "Subscription") => "Subscription",
            ("apps/v1", "Deployment") => "Deployment",
            ("v1", "ServiceAccount") => {
                self.found.service_accounts.insert(name);
                return;
            }
            ("v1", "Namespace") => return,
            (_, "") => return self.missing_kind(document),
            (version, kind) => {
                self.found.notices.insert(format!("{version} {kind} {name}: local mode leaves it out"));
                return;
            }
        };
        if name.name.is_empty() {
            let text = "every object needs a name".to_owned();
            let wrong = Wrong { line: document.line, field: "metadata.name".to_owned(), text };
            return self.problem(wrong, kind);
        }
        self.object(kind, name, document);
    }

    fn missing_kind(&mut self, document: Document<'_>) {
        let text = "this is no Kubernetes object: set apiVersion and kind".to_owned();
        self.problem(Wrong { line: document.line, field: "kind".to_owned(), text }, "");
    }

    fn object(&mut self, kind: &'static str, name: ObjectName, document: Document<'_>) {
        let place = (self.file.to_owned(), document.line);
        if let Some((file, line)) = self.found.places.insert((kind, name.clone()), place) {
            let text = format!("{kind} {name} is already in {file}:{line}; this one is left out");
            self.found.places.insert((kind, name.clone()), (file, line));
            let wrong = Wrong { line: document.line, field: "metadata.name".to_owned(), text };
            return self.problem(wrong, "");
        }
        let label = format!("{kind} {name}");
        let outcome = match kind {
            "Topic" => self.topic(&name, document),
            "Channel" => self.channel(&name, document),
            "Broker" => self.broker(&name, document),
            "Deployment" => self.deployment(&name, document),
            _ => Err(vec![Wrong {
                line: document.line,
                field: "kind".to_owned(),
                text: "Subscription is not supported yet: remove it".to_owned(),
            }]),
        };
        for wrong in outcome.err().into_iter().flatten() {
            self.problem(wrong, &label);
        }
    }

    fn topic(&mut self, name: &ObjectName, document: Document<'_>) -> Result<(), Vec<Wrong>> {
        let validate = |new: &api::Topic, old: Option<&api::Topic>| {
            let mut errors = api::topic::validate(new);
            errors.extend(api::topic::not_supported(&new.spec));
            errors.extend(old.map(|old| api::topic::validate_update(old, new)).unwrap_or_default());
            errors
        };
        let old = self.before.topics.get(name);
        insert(document, name, old, validate, &mut self.found.topics)
    }

    fn channel(&mut self, name: &ObjectName, document: Document<'_>) -> Result<(), Vec<Wrong>> {
        let validate = |new: &api::Channel, old: Option<&api::Channel>| {
            let mut errors = api::channel::validate(new);
            errors.extend(api::channel::not_supported(&new.spec));
            errors.extend(old.map(|old| api::channel::validate_update(old, new)).unwrap_or_default());
            errors
        };
        let old = self.before.channels.get(name);
        insert(document, name, old, validate, &mut self.found.channels)
    }

    fn broker(&mut self, name: &ObjectName, document: Document<'_>) -> Result<(), Vec<Wrong>> {
        let validate = |new: &api::Broker, old: Option<&api::Broker>| {
            let mut errors = api::broker::validate(new);
            if new.spec.engine == api::broker::Engine::Kafka {
                let problem = "local mode runs the Embedded engine alone: remove it here, or the Broker";
                errors.push(FieldError::new("spec.engine", problem));
            }
            errors.extend(old.map(|old| api::broker::validate_update(old, new)).unwrap_or_default());
            errors
        };
        let old = self.before.brokers.get(name);
        insert(document, name, old, validate, &mut self.found.brokers)?;
        let left_out = self.found.brokers.get(name).map(|broker| left_out(&broker.spec)).unwrap_or_default();
        if !left_out.is_empty() {
            let fields = left_out.join(", ");
            self.found.notices.insert(format!("Broker {name}: local mode leaves out {fields}"));
        }
        Ok(())
    }

    fn deployment(&mut self, name: &ObjectName, document: Document<'_>) -> Result<(), Vec<Wrong>> {
        let outcome =
            decode::<Deployment>(document).and_then(|deployment| understand(document, name, &deployment));
        match outcome {
            Ok(Outcome::Start(workload)) => drop(self.found.workloads.insert(name.clone(), *workload)),
            Ok(Outcome::Leave(why)) => drop(self.found.notices.insert(why)),
            Err(wrong) => {
                if let Some(old) = self.before.workloads.get(name) {
                    self.found.workloads.insert(name.clone(), old.clone());
                }
                return Err(vec![wrong]);
            }
        }
        Ok(())
    }

    /// Part of this file cannot be read: what it held before stays, unless it is found elsewhere.
    fn keep_file(&mut self) {
        for ((kind, name), _) in self.before.places.iter().filter(|(_, place)| place.0 == self.file) {
            let found = &mut self.found;
            match *kind {
                "Topic" => keep(&mut found.topics, &self.before.topics, name),
                "Channel" => keep(&mut found.channels, &self.before.channels, name),
                "Broker" => keep(&mut found.brokers, &self.before.brokers, name),
                "Deployment" => keep(&mut found.workloads, &self.before.workloads, name),
                _ => {}
            }
        }
        let accounts = self.before.service_accounts.iter().cloned();
        self.found.service_accounts.extend(accounts);
    }
}

/// The fields of a Broker that only a cluster acts on.
fn left_out(spec: &api::BrokerSpec) -> Vec<&'static str> {
    [
        ("spec.storage", spec.storage != api::BrokerSpec::default().storage),
        ("spec.resources", spec.resources.is_some()),
        ("spec.template", spec.template.is_some()),
        ("spec.config", !spec.config.is_empty()),
        ("spec.maintenance", spec.maintenance.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_set)| is_set.then_some(field))
    .collect()
}

fn keep<T: Clone>(found: &mut BTreeMap<ObjectName, T>, before: &BTreeMap<ObjectName, T>, name: &ObjectName) {
    if let (false, Some(old)) = (found.contains_key(name), before.get(name)) {
        found.insert(name.clone(), old.clone());
    }
}

fn insert<T: DeserializeOwned + Clone>(
    document: Document<'_>,
    name: &ObjectName,
    old: Option<&T>,
    validate: impl Fn(&T, Option<&T>) -> Vec<FieldError>,
    into: &mut BTreeMap<ObjectName, T>,
) -> Result<(), Vec<Wrong>> {
    let checked = decode::<T>(document).map_err(|wrong| vec![wrong]).and_then(|object| {
        let errors = validate(&object, old);
        let wrong = |error: FieldError| Wrong {
            line: line_of(document, &error.field),
            field: error.field,
            text: error.problem,
        };
        if errors.is_empty() { Ok(object) } else { Err(errors.into_iter().map(wrong).collect()) }
    });
    match checked {
        Ok(object) => {
            into.insert(name.clone(), object);
            Ok(())
        }
        Err(wrong) => {
            if let Some(old) = old {
                into.insert(name.clone(), old.clone());
            }
            Err(wrong)
        }
    }
}

/// What only shows when all files were read.
fn check_together(found: &mut Manifests) {
    let missing = |workload: &super::Workload| {
        let account = ObjectName::new(workload.name.namespace.clone(), workload.service_account.clone());
        account.name != "default" && !found.service_accounts.contains(&account)
    };
    let wrong: Vec<(ObjectName, String)> = found
        .workloads
        .values()
        .filter(|workload| missing(workload))
        .map(|workload| (workload.name.clone(), workload.service_account.clone()))
        .collect();
    for (name, account) in wrong {
        found.workloads.remove(&name);
        let text = format!("there is no ServiceAccount {account} in namespace {}: add one", name.namespace);
        let field = "spec.template.spec.serviceAccountName";
        let problem = found.problem_of("Deployment", &name, field, text);
        found.problems.push(problem);
    }
}
