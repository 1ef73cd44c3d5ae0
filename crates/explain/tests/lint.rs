//! The rules of `explain::lint`: their examples, their pages, and how findings are mended and silenced.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use explain::lint::{Finding, RULES, Severity, apply, diff, index, lint, page};
use manifest::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn findings(text: &str) -> Vec<Finding> {
    lint(&[Source { name: "f.yaml", bytes: text.as_bytes() }])
}

fn ids(text: &str) -> Vec<&'static str> {
    findings(text).iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn every_bad_example_is_found_and_every_good_one_is_good() {
    for rule in RULES {
        let found = findings(rule.bad);
        assert!(
            found.iter().any(|f| f.rule.id == rule.id && f.severity == rule.severity),
            "{}: {found:#?}",
            rule.id
        );
        let found: Vec<_> = findings(rule.good)
            .into_iter()
            .filter(|f| f.rule.id == rule.id || f.severity != Severity::Note)
            .map(|f| f.problem.render(false))
            .collect();
        assert!(found.is_empty(), "{}: {}", rule.id, found.join("\n"));
    }
}

#[test]
fn what_a_rule_says_it_mends_it_mends() {
    for rule in RULES {
        let found = findings(rule.bad);
        let fixes = found.iter().filter(|f| f.rule.id == rule.id && f.fix.is_some()).count();
        assert_eq!(fixes > 0, !rule.fix.is_empty(), "{}", rule.id);
        if fixes > 0 {
            let fixed = apply(rule.bad, &found);
            assert!(!ids(&fixed).contains(&rule.id), "{}: {fixed}", rule.id);
        }
    }
}

#[test]
fn names_are_names_of_pages() {
    let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
    for id in ids {
        assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id}");
    }
}

#[test]
fn the_pages_are_the_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules");
    let mut pages: BTreeMap<String, String> =
        RULES.iter().map(|rule| (format!("{}.md", rule.id), page(rule))).collect();
    pages.insert("lint.md".to_owned(), index());
    let bless = std::env::var_os("RHIZOME_BLESS").is_some();
    if bless {
        std::fs::create_dir_all(&folder).unwrap();
    }
    for (name, page) in &pages {
        let path = folder.join(name);
        if bless {
            std::fs::write(&path, page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == *page,
            "docs/rules/{name} is old: RHIZOME_BLESS=1 cargo test -p explain writes it anew"
        );
    }
}

const POD: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: d
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata:
      labels: {a: b}
    spec:
      containers:
      - name: main
        image: busybox
        volumeMounts:
        - name: root
          mountPath: /host
          mountPropagation: 'hosttocontainer'
          readonly: true
      volumes:
      - name: root
        hostPath:
          path: /
";

#[test]
fn places_are_those_of_the_template() {
    let found = findings(POD);
    let lines: Vec<_> = found
        .iter()
        .map(|f| (f.rule.id, f.problem.position.line, f.problem.position.column, f.end.column))
        .collect();
    assert_eq!(lines, [("unknown-mode", 17, 29, 46), ("misspelt-field", 18, 11, 19)]);
}

#[test]
fn fixes_are_words_in_their_quotes() {
    let found = findings(POD);
    let fixed = apply(POD, &found);
    assert!(fixed.contains("mountPropagation: 'HostToContainer'\n          readOnly: true\n"), "{fixed}");
    assert_eq!(ids(&fixed), ["read-only-not-recursive"]);
    assert_eq!(
        diff("/a/d.yaml", POD, &fixed),
        "\
--- a/a/d.yaml
+++ b/a/d.yaml
@@ -14,8 +14,8 @@
         volumeMounts:
         - name: root
           mountPath: /host
-          mountPropagation: 'hosttocontainer'
-          readonly: true
+          mountPropagation: 'HostToContainer'
+          readOnly: true
       volumes:
       - name: root
         hostPath:
"
    );
    assert_eq!(diff("x", POD, POD), "");
}

#[test]
fn a_fix_that_would_break_something_is_none() {
    // `ports` is a list, and `image` is there already.
    for line in ["port: 80", "images: busybox"] {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    {line}\n"
        );
        let found = findings(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].rule.id, found[0].fix.as_ref()), ("misspelt-field", None), "{line}");
    }
}

#[test]
fn annotations_silence_rules_for_their_object_only() {
    let annotation = "  name: d\n  annotations: {rhizome.dev/ignore: 'x, unknown-mode'}\n";
    let annotated = POD.replace("  name: d\n", annotation);
    assert_eq!(ids(&annotated), ["unknown-suppression", "misspelt-field"]);
    let annotation = "      labels: {a: b}\n      annotations: {rhizome.dev/ignore: misspelt-field}\n";
    assert_eq!(ids(&POD.replace("      labels: {a: b}\n", annotation)), ["unknown-mode"]);
    let both = format!("{annotated}---\n{POD}");
    assert_eq!(ids(&both), ["unknown-suppression", "misspelt-field", "unknown-mode", "misspelt-field"]);
}

#[test]
fn the_kernels_words_are_translated() {
    for (word, mode) in [("rshared", "Bidirectional"), ("Private", "None"), ("'slave'", "HostToContainer")] {
        let found = findings(&POD.replace("'hosttocontainer'", word));
        let hint = found[0].problem.hint.as_deref().unwrap_or_default();
        assert!(hint.ends_with(&format!(" is {mode}")), "{word}: {hint}");
    }
}

#[test]
fn lists_and_several_documents_are_looked_into() {
    let item = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n-{}-{}", &item(POD)[1..], &item(POD)[1..]);
    assert_eq!(ids(&list), ["unknown-mode", "misspelt-field", "unknown-mode", "misspelt-field"]);
    assert!(ids("apiVersion: v1\nkind: List\nitems:\n").is_empty());
    assert_eq!(ids("apiVersion: v1\nkind: List\nitems: [{kind: Pod}]\n"), ["no-object"]);
    let custom = "apiVersion: example.com/v1\nkind: Pood\nmetadata: {name: x}\nspec: {mountPropagation: x}\n";
    assert_eq!(ids(&format!("{custom}---\n{POD}")), ["unknown-mode", "misspelt-field"]);
}

#[test]
fn what_an_anchor_holds_is_told_once() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - &c\n    name: a\n    image: busybox\n    volumeMounts: [{name: v, mountPath: /v, mountPropagation: HostToContainer, subPath: x}]\n  - <<: *c\n    name: b\n  volumes: [{name: v, emptyDir: {}}]\n";
    assert_eq!(ids(text), ["subpath-with-propagation"]);
}

#[test]
fn what_never_was_an_object_is_a_note() {
    let found = findings("replicaCount: 1\nimage: busybox\n");
    let seen: Vec<_> = found.iter().map(|f| (f.rule.id, f.severity)).collect();
    assert_eq!(seen, [("no-object", Severity::Note)]);
}

#[test]
fn the_maker_of_a_mount_may_be_in_another_file() {
    let pod = |name: &str, host_path: &str, mode: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    securityContext: {{privileged: true}}\n    volumeMounts: [{{name: v, mountPath: /v, mountPropagation: {mode}}}]\n  volumes: [{{name: v, hostPath: {{path: {host_path}}}}}]\n"
        )
    };
    let maker = pod("maker", "/opt/buckets", "Bidirectional");
    let user = pod("user", "/opt/buckets/one", "HostToContainer");
    let sources =
        [Source { name: "a", bytes: maker.as_bytes() }, Source { name: "b", bytes: user.as_bytes() }];
    let found = lint(&sources);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].rule.id, found[0].problem.source_name.as_str()), ("fuse-root-as-volume", "b"));
    let message = &found[0].problem.message;
    assert!(message.contains("container main of Pod maker"), "{message}");
}

/// The API server takes two ports of one name, with a warning: no error, and no reason not to plan it.
#[test]
fn what_the_api_server_only_warns_of_is_no_error() {
    let container = |name: &str| {
        format!(
            "      - {{name: {name}, image: busybox, ports: [{{name: healthz, containerPort: {}}}]}}\n",
            name.len()
        )
    };
    let (one, two) = (container("a"), container("bb"));
    let text = format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: d}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    \
         metadata: {{labels: {{a: b}}}}\n    spec:\n      containers:\n{one}{two}"
    );
    assert!(ids(&text).is_empty(), "{:?}", ids(&text));
    let manifests = explain::plan::Manifests::survey(&[Source { name: "f.yaml", bytes: text.as_bytes() }]);
    let node = explain::plan::Node::assumed();
    let request = explain::plan::Request { node: &node, then: &[], restarts: 0 };
    assert!(explain::plan::plan(&manifests, &request).unwrap().is_good());
}

#[test]
fn large_input_takes_bounded_time() {
    let mut mounts = String::new();
    for index in 0..5_000 {
        mounts.push_str(&format!(
            "    - {{name: v{index}, mountPath: /m/{index}, mountPropagation: Bidirectional}}\n"
        ));
    }
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    volumeMounts:\n{mounts}  volumes:\n"
    );
    for index in 0..5_000 {
        text.push_str(&format!("  - {{name: v{index}, hostPath: {{path: /p/{index}}}}}\n"));
    }
    let started = std::time::Instant::now();
    assert!(!findings(&text).is_empty());
    // It takes a second unoptimised; pairs of all mounts would take minutes.
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn no_input_is_too_bad() {
    let inputs: [&[u8]; 7] = [
        b"",
        b"a: b\n\xff\xfe",
        b"%YAML",
        b"---\n",
        b"a: *b\n",
        b"[[[[",
        b"kind: Pod\napiVersion: v1\nspec: {containers: {}}\n",
    ];
    for bytes in inputs {
        for finding in lint(&[Source { name: "x", bytes }]) {
            let (start, end) = (finding.problem.position, finding.end);
            assert!((start.line, start.column) <= (end.line, end.column), "{finding:?}");
        }
    }
    for rule in RULES {
        for end in (0..rule.bad.len()).step_by(7) {
            let found = findings(&rule.bad[..end]);
            let _ = apply(&rule.bad[..end], &found);
        }
    }
}

/// Manifests that people really wrote. They are not part of the repository: `RHIZOME_MANIFESTS` names their folder, else
/// it is looked for beside the workspace.
#[test]
fn real_manifests_have_no_error_that_an_api_server_does_not_have() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/manifests");
    let folder = std::env::var_os("RHIZOME_MANIFESTS").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        let line = "SKIPPED: real_manifests_have_no_error_that_an_api_server_does_not_have: none (RHIZOME_MANIFESTS)";
        let _ = writeln!(std::io::stdout(), "{line}");
        return;
    }
    let (mut counts, mut wrong) = (BTreeMap::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for finding in lint(&[Source { name: &name, bytes: &std::fs::read(&path).unwrap() }]) {
            *counts.entry((finding.severity, finding.rule.id)).or_insert(0) += 1;
            // A namespace that says what to put there is none.
            if finding.severity == Severity::Error && !finding.problem.message.contains("FILLED BY") {
                wrong.push(finding.problem.render(false));
            }
        }
    }
    println!("{counts:#?}");
    assert!(!counts.is_empty() && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_claim_is_judged_by_the_volume_that_it_is_bound_to() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    \
        securityContext: {privileged: true}\n    volumeMounts: [{name: v, mountPath: /h, mountPropagation: Bidirectional}]\n  \
        volumes: [{name: v, persistentVolumeClaim: {claimName: all}}]\n---\n";
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: all}\n\
        spec: {volumeName: root, storageClassName: '', accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n";
    let volume = "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: root}\nspec:\n  capacity: {storage: 1Gi}\n  \
        accessModes: [ReadWriteOnce]\n  hostPath: {path: /}\n";
    assert_eq!(ids(&[pod, claim].concat()), Vec::<&str>::new());
    assert_eq!(ids(&[pod, claim, volume].concat()), ["bidirectional-on-root"]);
}

/// A page promises the annotation only where there is an object to annotate, and there it works.
#[test]
fn what_a_rule_says_can_be_silenced_can_be() {
    for rule in RULES {
        let annotation = format!("metadata:\n  annotations: {{rhizome.dev/ignore: {}}}\n", rule.id);
        let text = match rule.bad.contains("rhizome.dev/ignore: ") {
            true => rule.bad.replace("rhizome.dev/ignore: ", &format!("rhizome.dev/ignore: {}, ", rule.id)),
            false => rule.bad.replacen("\nmetadata:\n", &format!("\n{annotation}"), 2),
        };
        let found = findings(&text).iter().any(|finding| finding.rule.id == rule.id);
        let promised = explain::lint::text(rule).contains("To silence it");
        assert_ne!(found, promised, "{}: {text}", rule.id);
    }
}
