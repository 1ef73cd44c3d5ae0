//! Every row of every table of rules is shown by a case that is run on the kernel and in the model, and the page that says by
//! which is as the cases are (`RHIZOME_BLESS=1` writes it).
#![allow(clippy::disallowed_methods, reason = "a test that reads its cases; the room itself has no files")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# The tables of rules, and the cases that show them

Each row was reasoned out by hand as a case, which is run on the running kernel and in the model
([how](model.md)): in `crates/subtree-model/tests/kernel/cases`, the file's name before the colon.
This page is made from `tests/kernel/rows.txt` and the cases; a test fails if a row has none.
";

struct Table {
    name: String,
    title: String,
    rows: Vec<(String, String)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in read(&folder().join("rows.txt")).lines() {
        if let Some((name, title)) = line.strip_prefix("## ").and_then(|line| line.split_once(": ")) {
            tables.push(Table { name: name.to_owned(), title: title.to_owned(), rows: Vec::new() });
        } else if !line.starts_with('#')
            && let Some((row, meaning)) = line.split_once(": ")
            && let Some(table) = tables.last_mut()
        {
            table.rows.push((row.to_owned(), meaning.to_owned()));
        }
    }
    tables
}

/// The cases that name each row, as `TABLE/ROW`.
fn cases() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(folder().join("cases"))
        .expect("the cases")
        .map(|entry| entry.expect("a case file").path())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut title = String::new();
        for line in read(&file).lines() {
            if let Some(next) = line.strip_prefix("## ") {
                next.clone_into(&mut title);
            } else if let Some(rows) = line.strip_prefix("# rows: ") {
                for row in rows.split_whitespace() {
                    found.entry(row.to_owned()).or_default().push(format!("{name}: {title}"));
                }
            }
        }
    }
    found
}

#[test]
fn every_row_has_a_case() {
    let mut cases = cases();
    let mut page = HEAD.to_owned();
    let mut without = Vec::new();
    for table in tables() {
        let _ = write!(page, "\n## {}\n\n| row | what it says | shown by |\n|---|---|---|\n", table.title);
        let of_all = cases.remove(&format!("{}/all", table.name)).unwrap_or_default();
        for (row, meaning) in table.rows {
            let mut by = of_all.clone();
            by.extend(cases.remove(&format!("{}/{row}", table.name)).unwrap_or_default());
            let excused = row.strip_prefix('-');
            if by.is_empty() && excused.is_none() {
                without.push(format!("{}/{row}", table.name));
            }
            let by = if excused.is_some() { "no case".to_owned() } else { by.join("; ") };
            let _ = writeln!(page, "| {} | {meaning} | {by} |", excused.unwrap_or(&row));
        }
    }
    assert_eq!(without, Vec::<String>::new(), "rows that no case shows");
    assert!(cases.is_empty(), "cases name rows that no table has: {cases:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/model-cases.md");
    if std::env::var_os("RHIZOME_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page");
    }
    assert_eq!(read(&path), page, "run RHIZOME_BLESS=1 cargo test -p subtree-model --test rows");
}
