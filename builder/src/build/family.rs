//! Builds every order of a protocol that describes several; they share their files of pictures.

use super::options::BuildOptions;
use super::stats::Summary;
use crate::error::{Error, Result};
use crate::protocol::Protocol;

/// Builds each order of a protocol into a folder of its own below `options.out`, named after the order. Pictures are read
/// once: the picture files of the other orders are hard links where the file system has them. If an order fails, those
/// built before it stay.
///
/// # Errors
/// The protocol describes a single benchmark; one of the folders exists and may not be replaced; what
/// [`super::build`] fails for.
pub fn build_family(options: &BuildOptions) -> Result<Vec<Summary>> {
    let protocol = Protocol::load(&options.protocol)?;
    if protocol.orders() == 0 {
        return Err(Error::protocol("orders", "missing: this protocol describes a single benchmark"));
    }
    build_orders(options, &(1..=protocol.orders()).collect::<Vec<_>>())
}

/// Builds some orders of a protocol, counted from 1, as [`build_family`] builds all of them.
///
/// # Errors
/// The protocol lacks one of the orders; what [`build_family`] fails for.
pub fn build_orders(options: &BuildOptions, orders: &[usize]) -> Result<Vec<Summary>> {
    let protocol = Protocol::load(&options.protocol)?;
    let mut members = Vec::new();
    for order in orders.iter().copied() {
        let out = options.out.join(protocol.with_order(order)?.name);
        members.push(BuildOptions { order: Some(order), out, ..options.clone() });
    }
    members.iter().try_for_each(|member| member.target().map(drop))?;
    let mut built: Vec<Summary> = Vec::new();
    for member in &members {
        built.push(super::run(member, None, built.first())?);
    }
    Ok(built)
}
