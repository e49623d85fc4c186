//! `list`

use super::state::{Document, document, document_of};
use crate::cli::{Global, List, ListFormat};
use crate::error::{Code, Result};
use crate::id::Id;
use crate::state::{Seen, Store};

/// `casulo list`
#[inline(never)]
pub(super) fn run(global: &Global, args: &List) -> Result<u8> {
    let store = super::store(global)?;
    let ids = super::ids(global)?;
    if args.quiet {
        super::print(
            ids.iter()
                .map(|id| format!("{id}\n"))
                .collect::<String>()
                .as_bytes(),
        )?;
        return Ok(0);
    }
    let mut containers = Vec::new();
    for id in &ids {
        match store.open(id).and_then(|dir| document(&dir)) {
            Ok(container) => containers.push(container),
            // It was deleted while we looked.
            Err(error) if error.code == Code::NotFound => {}
            Err(error) => {
                log::warn!("{error}");
                containers.push(broken(&store, id));
            }
        }
    }
    let text = match args.format {
        ListFormat::Json => {
            let list = serde_json::to_string(&containers).expect("strings and numbers");
            format!("{list}\n")
        }
        ListFormat::Table => table(&containers),
    };
    super::print(text.as_bytes())?;
    Ok(0)
}

/// What is still known of a container whose record cannot be read, or is not believed.
fn broken(store: &Store, id: &Id) -> Document {
    let kept = store.open(id).ok().and_then(|dir| {
        let facts = dir.kept_identity()?;
        Seen::of_kept(facts).ok().map(document_of)
    });
    kept.unwrap_or_else(|| Document {
        id: id.to_string(),
        status: "unknown",
        ..Document::default()
    })
}

/// Columns as runc has them: at least twelve characters wide, three blanks apart.
fn table(containers: &[Document]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(containers.iter().map(|it| {
        [
            it.id.clone(),
            it.pid.to_string(),
            it.status.to_owned(),
            it.bundle.clone(),
            it.created.clone(),
            it.owner.clone(),
        ]
    }));
    let mut text = String::new();
    for row in &rows {
        for (column, value) in row.iter().enumerate() {
            text.push_str(value);
            if column == row.len() - 1 {
                continue;
            }
            let length = |row: &[String; 6]| row.get(column).map_or(0, |it| it.chars().count());
            let widest = rows.iter().map(length).max().unwrap_or(0);
            let blanks = (widest + 3).max(12) - value.chars().count();
            text.extend(std::iter::repeat_n(' ', blanks));
        }
        text.push('\n');
    }
    text
}
