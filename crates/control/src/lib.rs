//! Objects and reports in, one view per sidecar out.
//!
//! Pure: no sockets, clock or environment; the time is a parameter. The operator and local mode
//! feed an [`Index`] with Topics, Channels and Brokers and with what sidecars report; it says whose
//! view changed and what is in it. It never decides how a view travels.
#![warn(missing_docs)]

mod diff;
pub mod index;
pub mod names;
pub mod objects;
pub mod placement;
pub mod topics;
pub mod view;

pub use index::{Index, Settings};
pub use names::{Identity, ObjectName};
pub use objects::{Broker, Channel, Topic};
pub use view::View;
