//! Manifests: parsed, decoded, validated, defaulted, and made into what the runtime takes.

use manifest::cri::{self, EnvSources, NodeFacts, ResolvedVolumes};
use manifest::{Object, Options, Source, ValidationMode, kubectl_text, load};

/// Words of the API, and of YAML.
pub(crate) const WORDS: &[&str] = &[
    "null",
    "~",
    "-1",
    "99999999999999999999",
    "1e999",
    "[]",
    "{}",
    "\"\"",
    "!!int ",
    "*m",
    "&m ",
    "<<: ",
    "\n---\n",
    "- ",
    ": ",
    "|\n",
    "\u{0}",
    "\u{feff}",
    "\\ud800",
    "..",
    "$(A)",
    "10Mi",
    "1m",
    "Bidirectional",
    "initContainers",
    "hostUsers",
    "securityContext",
    "privileged",
    "sysctls",
    "Localhost",
    "localhostProfile",
    "runAsUser",
    "items",
    "valueFrom",
    "fieldRef",
    "metadata.labels['a']",
    "Pod",
    "ConfigMap",
    "Secret",
    "DaemonSet",
    "List",
    "v1",
    "apps/v1",
];

/// Whatever is said of the bytes can be drawn; what is valid can be made into a sandbox and containers, or is refused
/// in words.
pub(crate) fn run(bytes: &[u8]) {
    for validation in [ValidationMode::Strict, ValidationMode::Ignore] {
        let options = Options { validation, namespace: None };
        match load(&[Source { name: "f.yaml", bytes }], &options) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    assert!(!warning.render_warning(true).is_empty());
                }
                for object in &loaded.objects {
                    if let Object::Pod(pod) = &object.object {
                        make(pod);
                    }
                }
            }
            Err(problems) => {
                assert!(!problems.is_empty() && !kubectl_text(&problems).is_empty());
                for problem in &problems {
                    let drawn = problem.render(false);
                    assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
                }
            }
        }
    }
}

fn make(pod: &k8s_openapi::api::core::v1::Pod) {
    let sandbox = cri::pod_sandbox_config(pod, 0, "/x", std::path::Path::new("/l"));
    assert!(sandbox.hostname.len() <= 63);
    let node = NodeFacts {
        name: "node",
        host_ips: &[],
        pod_ips: &[],
        cpu_millis: 2000,
        storage_bytes: 1 << 40,
        memory_bytes: 1 << 30,
        recursive_read_only: true,
    };
    let (maps, secrets) = (Default::default(), Default::default());
    let sources = EnvSources::new(&maps, &secrets);
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        let volumes = ResolvedVolumes::default();
        let _ = cri::container_config(pod, &container.name, 0, &volumes, &sources, &node, &[]);
    }
}
