//! Tests of the room: small worlds, what happens in them, and what they look like then.

mod effects;
mod limits;
mod questions;
mod random;
mod schema;
mod table;
