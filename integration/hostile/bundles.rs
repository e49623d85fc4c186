//! The bundles of `bundles/hostile`, as a person tries them.

use crate::support::{Case, Lab};

pub(super) const CASES: &[Case] = &[];
#[allow(dead_code)]
fn later(_lab: &Lab) {}
