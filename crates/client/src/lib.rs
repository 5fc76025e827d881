//! The Rust client: opens runs, pushes snapshots, follows what is measured.
//!
//! ```text
//! trainer → Sender (never blocks) → Client → Run =gRPC=> daemon → Follow → readings, decisions
//! ```
//!
//! Owns: connections, the cutting of tensors into frames, where the daemon is. May not touch: any stage of the daemon.
//!
//! A trainer that must never be held up takes [`background::Sender`]; everything else is here:
//!
//! ```no_run
//! # async fn example(tensors: Vec<clino_domain::Tensor>) -> Result<(), clino_domain::Fault> {
//! use clino_client::{Client, Label, Plan};
//! let client = Client::connect(&clino_client::endpoint::client_address()).await?;
//! let plan = Plan::new("my run", r#"{"model_type":"mlp","sizes":[8,16,3]}"#);
//! let run = client.open_run(&plan).await?;
//! let receipt = run.push(Label::step(100), tensors).await?;
//! println!("{} measures will run", receipt.measures.len());
//! let mut events = run.follow(Some(0));
//! while let Some(event) = events.next().await? {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod access;
pub mod background;
mod connect;
mod decisions;
mod doctor;
pub mod endpoint;
mod fleet;
mod follow;
mod plan;
mod run;
mod upload;

pub use access::{Access, AuthInterceptor};
pub use connect::{AuthChannel, BEGINNING, Client};
pub use decisions::Advised;
pub use follow::Follow;
pub use plan::Plan;
pub use run::{Label, Run};
pub use upload::{Blocks, CHUNK};

#[cfg(test)]
mod tests;
