//! The report for other programs: one JSON file.

use super::Section;
use serde_json::{Map, Value, json};

/// All numbers: of the machine, and of each section under its id.
pub(crate) fn document(facts: &[(String, String)], sections: &[Section]) -> Value {
    let facts: Map<String, Value> = facts
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let charts: Vec<&str> = sections
        .iter()
        .flat_map(|section| section.charts.iter().map(|chart| chart.id.as_str()))
        .collect();
    let sections: Map<String, Value> = sections
        .iter()
        .map(|section| (section.id.clone(), section.value.clone()))
        .collect();
    json!({"machine": facts, "sections": sections, "charts": charts})
}
