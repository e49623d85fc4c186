//! The report in a terminal.

use super::{Mark, Section, Table};
use comfy_table::presets::NOTHING;

/// Prints a section: its text and its tables. Charts are for the page.
pub(crate) fn print(section: &Section) {
    println!("\n{}\n", section.title);
    for paragraph in &section.text {
        println!("{paragraph}");
    }
    for table in &section.tables {
        println!("\n{}\n{}", table.title, render(table));
    }
}

fn render(table: &Table) -> comfy_table::Table {
    let mut shown = comfy_table::Table::new();
    shown.load_style(NOTHING);
    // Heads of several words are broken: a column is as wide as its cells.
    shown.set_header(table.head.iter().map(|cell| cell.text.replace(' ', "\n")));
    for row in &table.rows {
        let mut cells = vec![if row.cells.is_empty() {
            format!("\n{}", row.label.text)
        } else {
            format!("  {}", row.label.text)
        }];
        cells.extend(row.cells.iter().map(|cell| match cell.mark {
            Mark::Held => "✓".to_owned(),
            Mark::Leaked => "LEAK".to_owned(),
            Mark::NotApplicable => "–".to_owned(),
            Mark::Plain => cell.text.clone(),
        }));
        shown.add_row(cells);
    }
    shown
}
