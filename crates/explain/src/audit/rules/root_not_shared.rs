//! The node's `/` or the kubelet's folder is not shared.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::mend::Action;
use crate::rule::Rule;
use crate::why::trace::words;
use std::path::Path;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "root-not-shared",
    summary: "The node's / or the kubelet's folder is not on a shared mount",
    what: "The mount that carries `/` or, where a kubelet runs, `/var/lib/kubelet` is private or only a slave. Without a container runtime on the node it is a remark.",
    why: "Volumes with mountPropagation on such a mount are refused (`is not a shared mount`), or reach less than they should. The kubelet binds its own folder onto itself and shares that, so that its volumes work and hostPaths elsewhere do not: a puzzle for whoever meets both.",
    instead: "`mount --make-rshared /` at boot, before the runtime starts. systemd does it; OpenRC, runit, WSL and most sandboxes do not.",
    kernel: &[RuleId::MakeSharedNewGroup, RuleId::CopyPrivate],
};

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    if !scene.scope.contains(&scene.host) {
        return Vec::new();
    }
    let runs = |names: &[&str]| {
        let processes = scene.node.namespaces.iter().flat_map(|view| &view.processes);
        processes.into_iter().any(|process| names.contains(&process.comm.as_str()))
    };
    let busy = runs(&["kubelet", "containerd", "crio", "dockerd", "k3s-server", "k3s-agent"]);
    let mut paths = vec!["/"];
    if runs(&["kubelet", "k3s-server", "k3s-agent"]) {
        paths.push("/var/lib/kubelet");
    }
    let mut told = None;
    let mut findings = Vec::new();
    for path in paths {
        let Some(at) = t.carrier(scene.host, Path::new(path)) else { continue };
        let mount = t.mount(at);
        let propagation = mount.propagation;
        if propagation.is_shared() && !propagation.is_slave() || told == Some(at) {
            continue;
        }
        told = Some(at);
        let title = format!("{path} is on {}, which is {}", words(t, at), propagation.in_words());
        let why = match propagation.is_slave() {
            true => "mounts come in from its master, and none go back: this node is inside of another",
            false => "volumes below it cannot have mountPropagation",
        };
        let finding = match busy && !propagation.is_slave() {
            true => Finding::problem(RULE.id, title, why),
            false => Finding::limit(RULE.id, title, why),
        };
        let finding = finding.about(scene.place(at)).seen(scene.row(at));
        findings.push(finding.with(
            t,
            vec![Action::MakeShared { mount: t.seen(at) }],
            "until the next boot; namespaces that are copied from it later receive what is mounted on it, unless they are made private; containers that run are not changed",
        ));
    }
    findings
}
