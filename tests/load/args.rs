//! All flags and variables of the app.

/// What to publish and what to subscribe to.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct Args {
    /// What this pod is called.
    #[arg(long, env = "POD")]
    pub(crate) pod: String,
    /// Where the test listens.
    #[arg(long, env = "CLERK")]
    pub(crate) clerk: String,
    /// The sidecar's door.
    #[arg(long, env = "PINNACE_ADDRESS")]
    pub(crate) door: String,
    /// A Channel to publish to, as channels/NAME; may be given again.
    #[arg(long)]
    pub(crate) publish: Vec<String>,
    /// Calls a second for each of them.
    #[arg(long, default_value = "20")]
    pub(crate) calls: u32,
    /// A Channel to subscribe to; may be given again.
    #[arg(long)]
    pub(crate) subscribe: Vec<String>,
    /// The same, with each message acknowledged once the test knows of it.
    #[arg(long)]
    pub(crate) work: Vec<String>,
}
