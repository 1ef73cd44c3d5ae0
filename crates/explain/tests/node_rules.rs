//! The pages of the rules over a machine's mounts are what the rules say.

#![allow(clippy::disallowed_methods, reason = "the tests, unlike the room, read files and the environment")]

use explain::rule::Rule;
use explain::rule::{index_page, kernel_page};
use explain::{audit, busy, kernel_rule, why};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const WHY: &str = "Each is a cause that an answer of `rhizome why` and `rhizome why-not` can have. The chain of facts before it also \
names [rules of the kernel](kernel.md).";

const AUDIT: &str = "What is wrong with the mounts of a node, or about to go wrong. The exit status is 0 if nothing is found, 1 if \
something is, 2 if it could not be found out; `-o json` and `-o sarif` are for programs. Mends that the node can make have a name for \
`rhizome mend`.";

const BUSY: &str = "What holds a mount, or the folder that it is on. What stops the unmount is a problem; what only keeps the file \
system in use is a limit.";

/// All rules, each once: `audit` and `why` have one in common.
fn all() -> impl Iterator<Item = &'static Rule> {
    let own = |rule: &&&Rule| why::RULES.iter().all(|known| known.id != rule.id);
    why::RULES.iter().chain(audit::RULES.iter().filter(own)).chain(busy::RULES).copied()
}

#[test]
fn the_pages_are_the_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules");
    let mut pages: BTreeMap<String, String> =
        all().map(|rule| (format!("{}.md", rule.id), rule.page())).collect();
    pages.insert("why.md".to_owned(), index_page("Causes of `rhizome why`", WHY, why::RULES));
    pages.insert("audit.md".to_owned(), index_page("Rules of `rhizome audit`", AUDIT, audit::RULES));
    pages.insert("busy.md".to_owned(), index_page("Causes of `rhizome why-busy`", BUSY, busy::RULES));
    pages.insert("kernel.md".to_owned(), kernel_page());
    let kernel = subtree_model::RuleId::ALL.iter();
    pages.extend(kernel.map(|rule| (format!("kernel/{}.md", rule.id()), kernel_rule::page(*rule))));
    for (name, page) in &pages {
        let path = folder.join(name);
        if std::env::var_os("RHIZOME_BLESS").is_some() {
            std::fs::write(&path, page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == *page,
            "docs/rules/{name} is old: RHIZOME_BLESS=1 cargo test -p explain writes it anew"
        );
    }
}

#[test]
fn names_are_not_those_of_other_rules() {
    let lint: BTreeSet<&str> = explain::lint::RULES.iter().map(|rule| rule.id).collect();
    for rule in all() {
        assert!(rule.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.id);
        assert!(!lint.contains(rule.id), "{} is a rule of lint", rule.id);
    }
}
