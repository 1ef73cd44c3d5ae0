//! stub
use crate::field::FieldErrors;
use crate::tree::Node;
use k8s_openapi::api::core::v1::Pod;
/// Note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {}
/// Support.
pub fn pod(_: &Pod, _: &Node) -> (FieldErrors, Option<Note>) {
    (FieldErrors::default(), None)
}
