//! Bad input never panics: seeds, changed at random in many ways, are loaded; whatever is said of them is drawn.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use manifest::{Options, Source, ValidationMode, kubectl_text, load};

const SEEDS: [&str; 6] = [
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: {app: a}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    command: [sh, -c, \"echo $(A)\"]\n    env: [{name: A, value: x}]\n    ports: [{containerPort: 80, hostPort: 8080}]\n    resources: {limits: {memory: 1.5Gi, cpu: 100m}}\n    securityContext: {privileged: true, runAsUser: 0}\n    volumeMounts:\n    - {name: v, mountPath: /home, mountPropagation: Bidirectional, subPath: a/b}\n  volumes:\n  - name: v\n    hostPath: {path: /mnt, type: DirectoryOrCreate}\n",
    "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"m\"}, \"data\": {\"k\": \"\\ud83d\\ude00\"}}]}\n",
    "apiVersion: v1\nkind: Secret\nmetadata: &m {name: s}\ndata: {a: eA==}\nstringData: {b: |\n  x\n  y\n}\n---\napiVersion: v1\nkind: Secret\nmetadata: {<<: *m, name: t}\ntype: kubernetes.io/tls\n",
    "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {app: a}}\n  template:\n    metadata: {labels: {app: a}}\n    spec: {containers: [{name: main, image: b, livenessProbe: {httpGet: {port: 80}, periodSeconds: 5}}]}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, creationTimestamp: \"2024-01-01T00:00:00Z\"}\nspec:\n  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}}\n  tolerations: [{operator: Exists}]\n  dnsPolicy: None\n  dnsConfig: {nameservers: [1.2.3.4], searches: [a.b]}\n  initContainers: [{name: i, image: c}]\n  containers: [{name: main, image: b, envFrom: [{configMapRef: {name: m}}]}]\n  volumes: [{name: a, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}]}}]\n",
    "",
];

const PIECES: [&str; 40] = [
    "null",
    "~",
    "true",
    "-1",
    "99999999999999999999",
    "1e999",
    "[]",
    "{}",
    "\"\"",
    "''",
    "0644",
    "1_0",
    "!!int x",
    "*m",
    "&a ",
    "<<: ",
    "\t",
    "\n---\n",
    "...\n",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    "%YAML 1.1\n",
    "\u{0}",
    "\u{feff}",
    "é",
    "\u{2028}",
    "\\ud800",
    "..",
    "/",
    "$(",
    "10MB",
    "Bidirectional",
    "containers",
];

/// A small generator (SplitMix64), so that a failure can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            2 => drop(bytes.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            4 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            _ => bytes.truncate(bytes.len().max(2) - random.below(2)),
        }
    }
    bytes
}

/// Changes a value of the tree and not the text, so that more of it gets past the parser.
fn mutate_value(random: &mut Random, seed: &str) -> Vec<u8> {
    let mut lines: Vec<String> = seed.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(2) {
        let line = random.below(lines.len());
        if let Some(text) = lines.get_mut(line)
            && let Some(at) = text.find(": ")
        {
            let end = text[at + 2..].find([',', '}', ']']).map_or(text.len(), |end| at + 2 + end);
            text.replace_range(at + 2..end, PIECES[random.below(PIECES.len())]);
        }
    }
    (lines.join("\n") + "\n").into_bytes()
}

#[test]
fn nothing_panics() {
    let rounds: usize =
        std::env::var("RHIZOME_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(4000);
    let mut random = Random(7);
    let (mut loaded, mut refused) = (0, 0);
    for round in 0..rounds {
        let seed = SEEDS[random.below(SEEDS.len())];
        let bytes = if random.below(2) == 0 {
            mutate(&mut random, seed.as_bytes())
        } else {
            mutate_value(&mut random, seed)
        };
        let validation = [ValidationMode::Strict, ValidationMode::Warn, ValidationMode::Ignore][round % 3];
        let options = Options { validation, namespace: (round % 5 == 0).then_some("other") };
        match load(&[Source { name: "f.yaml", bytes: &bytes }], &options) {
            Ok(all) => {
                loaded += 1;
                for warning in &all.warnings {
                    assert!(!warning.render_warning(true).is_empty());
                }
            }
            Err(problems) => {
                refused += 1;
                assert!(!problems.is_empty());
                assert!(!kubectl_text(&problems).is_empty());
                for problem in &problems {
                    let drawn = problem.render(false);
                    assert!(drawn.starts_with("error: ") && !drawn.contains('\u{1b}'), "{drawn}");
                }
            }
        }
    }
    assert!(loaded > rounds / 50 && refused > rounds / 50, "{loaded} loaded, {refused} refused");
}

/// A megabyte of wrong input of the worst kinds is refused in a moment.
#[test]
fn much_that_is_wrong_takes_no_time() {
    let many = |line: &str| (0..40_000).map(|n| line.replace('#', &n.to_string())).collect::<String>();
    let head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n";
    let texts = [
        format!("{head}{}", many("  x#: y\n")),
        format!("{head}  labels:\n{}", many("    '/#': y\n")),
        format!("{head}spec:\n  containers:\n{}", many("  - name: A#\n")),
        format!("{head}spec:\n  containers:\n  - name: a\n    args:\n{}", many("    - #\n")),
        format!("{head}spec:\n{}", many("  hostPID: true # #\n")),
        many("a: b\n---\n"),
        many("{\"a\": \"b\"}\n"),
        "[".repeat(1_000_000),
        "? ".repeat(500_000),
        format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(10_000), "*a, ".repeat(100_000)),
    ];
    let start = std::time::Instant::now();
    for text in texts {
        let problems =
            load(&[Source { name: "f.yaml", bytes: text.as_bytes() }], &Options::default()).unwrap_err();
        assert!(problems.len() < 50_000 && !kubectl_text(&problems).is_empty());
    }
    // Slow machines and debug builds are given room; a quadratic step would take minutes.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
