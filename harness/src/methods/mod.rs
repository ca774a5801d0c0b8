//! The continual-learning methods, one file each. A method's file holds a constant that says what the method is and which
//! settings it reads ([`MethodSpec`]) and a type that implements [`Method`]; [`registry`] lists the constants. Adding a
//! method takes such a file and one line in the registry; a program that uses this library can train a method of its own
//! without either (see [`MethodSpec::new`]).

pub(crate) mod emar;
mod emr;
pub(crate) mod ewc;
mod fea;
mod joint;
pub mod journal;
pub mod lmc;
mod majority;
pub(crate) mod method;
pub mod registry;
pub(crate) mod rp_cre;
pub mod saved;
mod seq_star;
pub mod shared;
pub(crate) mod spec;
pub mod trace;
mod vanilla;

pub use crate::run::checkpoint::State;
pub use method::{Method, Session};
pub use registry::{METHODS, names};
pub use saved::SavedMethod;
pub use shared::balance::RHO;
pub use spec::{Create, Keeps, MethodSpec, Reopen};
