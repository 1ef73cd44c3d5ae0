//! The rules over a machine's mounts: their pages, and those that a kernel cannot easily be made to show.

#![allow(clippy::disallowed_methods, reason = "the tests, unlike the room, read files and the environment")]

use explain::finding::Severity;
use explain::rule::Rule;
use explain::rule::{index_page, kernel_page};
use explain::topology::Topology;
use explain::{audit, busy, kernel_rule, why};
use mount_table::holders::Held;
use mount_table::{MountTable, NamespaceId, NamespaceView, Node};
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

/// A node with one namespace: `/` and what is mounted on it, by path.
fn node(paths: &[&str]) -> Node {
    let mut rows = String::from("1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n");
    for (index, path) in paths.iter().enumerate() {
        rows.push_str(&format!(
            "{} 1 0:{} / {path} rw shared:{} - tmpfs none rw\n",
            index + 2,
            index + 20,
            index + 2
        ));
    }
    let table = MountTable::parse_mountinfo(rows.as_bytes()).unwrap();
    let mut node = Node::new(jiff::Timestamp::UNIX_EPOCH, "6.18".to_owned());
    node.host = Some(NamespaceId(7));
    node.namespaces.push(NamespaceView::new(NamespaceId(7), table));
    node
}

#[test]
fn what_the_kernel_holds_is_told() {
    let node = node(&["/mnt/disk"]);
    let topology = Topology::of_node(&node);
    let subject = busy::Subject::of(&topology, 0, Path::new("/mnt/disk")).unwrap();
    let held = Held {
        loops: vec![("loop3".to_owned(), "/mnt/disk/image".into()), ("loop4".to_owned(), "/other".into())],
        swaps: vec!["/mnt/disk/swap".into()],
        ..Held::default()
    };
    let found = busy::busy(&topology, &subject, &held);
    let told: Vec<_> = found.iter().map(|finding| (finding.id, finding.mends[0].command.as_str())).collect();
    let expected =
        [("busy-loop-device", "losetup --detach /dev/loop3"), ("busy-swap", "swapoff /mnt/disk/swap")];
    assert_eq!(told, expected);
    assert!(busy::busy(&topology, &subject, &Held::default()).is_empty());
}

#[test]
fn a_namespace_near_its_limit_is_told() {
    let paths: Vec<String> = (0..59).map(|number| format!("/m/{number}")).collect();
    let mut node = node(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let count = |node: &Node| {
        let topology = Topology::of_node(node);
        let found = audit::audit(node, &topology, NamespaceId(7), None);
        found.into_iter().find(|finding| finding.id == "mount-count").map(|finding| finding.severity)
    };
    node.mount_max = Some(200);
    assert_eq!(count(&node), None);
    node.mount_max = Some(100);
    assert_eq!(count(&node), Some(Severity::Limit));
    node.mount_max = Some(70);
    assert_eq!(count(&node), Some(Severity::Problem));
}
