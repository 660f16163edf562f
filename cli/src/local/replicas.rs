//! One replica of a Deployment as two parts: a sidecar, and the app that starts once it is ready.

use super::child::Spec;
use super::context::Context;
use super::folder::FolderError;
use super::manifests::Workload;
use super::parts::{Kind, PartState, Ready, StateSender};
use super::report::Event;
use super::sidecars::{GRACE, SidecarPlan, wait_ready};
use control_plane::Identity;
use runtime::shutdown::Shutdown;
use runtime::tasks::OnError;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// After this the user is told what the sidecar waits for.
const READY_PATIENCE: Duration = Duration::from_secs(10);

/// A replica that runs.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) name: Arc<str>,
    token: String,
    stop_app: Shutdown,
    stop_sidecar: Shutdown,
    app: Option<JoinHandle<()>>,
    sidecar: JoinHandle<()>,
}

impl Replica {
    /// Starts both; tasks keep them.
    pub(crate) fn start(context: &Context, workload: &Workload, index: u32) -> Result<Self, FolderError> {
        let name: Arc<str> = format!("{}/{}-{index}", workload.name.namespace, workload.name.name).into();
        let identity = Identity::new(workload.name.namespace.clone(), workload.service_account.clone());
        let token = context.tokens.hand_out(identity);
        let basics = (context.program.clone(), context.control.to_string(), context.trust_bundle.clone());
        let mut plan = SidecarPlan::prepare(&context.run, basics, &name, &token)?;
        plan.broker.clone_from(&workload.broker);
        plan.zmq_listen.clone_from(&workload.zmq_listen);
        plan.zmq_connect.clone_from(&workload.zmq_connect);
        plan.push.clone_from(&workload.push);
        plan.log_level.clone_from(&workload.log_level);
        let layers = &context.layers;
        let (stop_app, stop_sidecar) = (layers.apps.shutdown().child(), layers.sidecars.shutdown().child());
        let sidecar_state = context.parts.add(Kind::Sidecar, &name);
        let app_state = context.parts.add(Kind::App, &name);
        let watched = sidecar_state.subscribe();
        let app = App {
            context: context.clone(),
            name: Arc::clone(&name),
            workload: workload.clone(),
            plan: plan.clone(),
        };
        let sidecar = {
            let (nursery, name, stop) = (context.nursery.clone(), Arc::clone(&name), stop_sidecar.clone());
            layers.sidecars.spawn("sidecar", OnError::Log, async move {
                nursery.keep(name, sidecar_state, stop, |last| plan.spec(last)).await;
                Ok::<_, Infallible>(())
            })
        };
        let app = layers.apps.spawn("app", OnError::Log, app.run(app_state, watched, stop_app.clone()));
        Ok(Self { name, token, stop_app, stop_sidecar, app: Some(app), sidecar })
    }

    /// Stops the app alone; the sidecar goes on.
    pub(crate) async fn stop_app(&mut self) {
        self.stop_app.begin();
        if let Some(app) = self.app.take() {
            // Its task logs how it ended.
            drop(app.await);
        }
    }

    /// Stops the app, then the sidecar.
    pub(crate) async fn stop(mut self, context: &Context) {
        self.stop_app().await;
        self.stop_sidecar.begin();
        drop(self.sidecar.await);
        context.tokens.withdraw(&self.token);
        context.parts.remove(Kind::App, &self.name);
        context.parts.remove(Kind::Sidecar, &self.name);
    }
}

struct App {
    context: Context,
    name: Arc<str>,
    workload: Workload,
    plan: SidecarPlan,
}

impl App {
    async fn run(
        self,
        state: StateSender,
        sidecar: watch::Receiver<PartState>,
        stop: Shutdown,
    ) -> Result<(), Infallible> {
        let started = runtime::clock::now();
        let told = AtomicBool::new(false);
        let waits = |why: String| {
            let late = runtime::clock::now().saturating_duration_since(started) > READY_PATIENCE;
            let tell = late && !told.swap(true, Ordering::Relaxed);
            let text = format!("its sidecar is not ready, so the app waits: {why}");
            let (events, part) = (self.context.events.clone(), Arc::clone(&self.name));
            async move {
                if tell {
                    events.send(Event::Problem { part, text }).await;
                }
            }
        };
        let Some(Some(ready)) = stop.or(wait_ready(sidecar, waits)).await else { return Ok(()) };
        let spec = |_: Option<&Ready>| self.spec(&ready);
        self.context.nursery.keep(Arc::clone(&self.name), state, stop, spec).await;
        Ok(())
    }

    fn spec(&self, ready: &Ready) -> Spec {
        let command = self.workload.command.split_first();
        let (program, arguments) =
            command.map_or(("false", [].as_slice()), |(first, rest)| (first.as_str(), rest));
        let program = match program {
            "pinnace" | "/usr/bin/pinnace" => self.context.program.clone(),
            other => PathBuf::from(other),
        };
        let mut env = self.plan.app_environment(ready, &self.context.search_path);
        env.extend(self.workload.env.iter().cloned());
        Spec { kind: Kind::App, program, arguments: arguments.to_vec(), env, ready_file: None, grace: GRACE }
    }
}
