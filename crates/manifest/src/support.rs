//! What of a Pod this version runs: a row for every field, as data.
//!
//! A field that would change what happens and is not done yet is refused by name; one that has no meaning on one machine
//! is accepted and named once. Nothing is passed over silently: a test holds the rows against the API's schema.

mod claims;
mod workloads;

pub use claims::page as claims_page;
pub(crate) use claims::{claim, persistent_volume};
pub use workloads::page as workloads_page;
pub(crate) use workloads::{not_run, workload};

use crate::cri::sandbox::HOSTNAME_MAX;
use crate::field::{FieldErrors, Path};
use crate::problem::ObjectId;
use crate::tree::{Node, Number, Value};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::collections::HashSet;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Does what Kubernetes says.
    Done,
    /// Does it for these values; others are refused.
    Values(&'static [&'static str]),
    /// Accepted; means nothing on one machine.
    NoMeaning,
    /// Refused unless it says what would be so without it.
    Refused,
    /// Looked at by a rule of its own.
    Checked,
}

/// A field of the Pod API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its path, `[]` for the items of a list. It speaks for all fields below that have no row.
    pub path: &'static str,
    /// What becomes of it.
    pub support: Support,
    /// What else there is to say.
    pub remark: &'static str,
}

const fn row(path: &'static str, support: Support, remark: &'static str) -> Row {
    Row { path, support, remark }
}

use Support::{Checked, Done, NoMeaning, Refused, Values};

const SE_LINUX: &str = "where the machine has SELinux: the label of processes, and of the file systems made for the container; \
                        elsewhere they do nothing, as in Kubernetes, and that is said. Volumes keep their labels";

/// The table. Containers are written once, for all kinds of containers.
pub const PODS: &[Row] = &[
    row("apiVersion", Done, ""),
    row("kind", Done, ""),
    row("metadata.ownerReferences", NoMeaning, "kept, and does nothing"),
    row("metadata.finalizers", NoMeaning, "kept, and does nothing"),
    row("metadata.name", Done, ""),
    row("metadata.generateName", Done, "five random characters are put behind it"),
    row("metadata.namespace", Done, "every namespace is there"),
    row("metadata.labels", Done, ""),
    row(
        "metadata.annotations",
        Checked,
        "rhizome.dev/allowed-unsafe-sysctls, rhizome.dev/bidirectional-in-userns, rhizome.dev/ignore, rhizome.dev/make-shared, rhizome.dev/mounts-at-end and rhizome.dev/pids-limit have a meaning, other words of rhizome.dev/ are refused",
    ),
    row("metadata.uid", Done, "given anew, as by the API server"),
    row("metadata.resourceVersion", Done, "given anew, as by the API server"),
    row("metadata.generation", Done, "given anew, as by the API server"),
    row("metadata.creationTimestamp", Done, "given anew, as by the API server"),
    row("metadata.deletionTimestamp", Done, "left out, as by the API server"),
    row("metadata.deletionGracePeriodSeconds", Done, "left out, as by the API server"),
    row("metadata.selfLink", Done, "left out, as by the API server"),
    row("metadata.managedFields", Done, "left out"),
    row("status", Done, "left out, as by the API server"),
    row("spec.volumes[].name", Done, ""),
    row("spec.volumes[].hostPath", Done, "every type, with the kubelet's checks"),
    row(
        "spec.volumes[].emptyDir.medium",
        Checked,
        "`Memory`, and `HugePages` or `HugePages-SIZE` where the machine has such pages",
    ),
    row(
        "spec.volumes[].emptyDir.sizeLimit",
        Done,
        "the size of the tmpfs with medium Memory; on disk measured every 10 s, and a pod that has more is evicted",
    ),
    row("spec.volumes[].configMap", Done, ""),
    row("spec.volumes[].secret", Done, ""),
    row(
        "spec.volumes[].persistentVolumeClaim",
        Done,
        "the hostPath or directory of a PersistentVolume of the same files, else a folder that stays",
    ),
    row("spec.volumes[].downwardAPI", Done, ""),
    row("spec.volumes[].projected.defaultMode", Done, ""),
    row("spec.volumes[].projected.sources[].configMap", Done, ""),
    row("spec.volumes[].projected.sources[].secret", Done, ""),
    row("spec.volumes[].projected.sources[].downwardAPI", Done, ""),
    row(
        "spec.volumes[].projected.sources[].serviceAccountToken",
        Checked,
        "there are no service accounts: the file is left out, with a note",
    ),
    row("spec.volumes[].projected.sources[].clusterTrustBundle", Refused, ""),
    row("spec.volumes[].projected.sources[].podCertificate", Refused, ""),
    row("spec.volumes[].ephemeral", Done, "a folder that goes with the pod"),
    row(
        "spec.volumes[].image",
        Done,
        "read-only and noexec, as in Kubernetes; with hostUsers: false it is put together in each container anew, of layers whose ids are mapped, so that nothing that the host mounts in it is received there",
    ),
    row("spec.volumes[]", Refused, "volumes of other kinds"),
    row("spec.initContainers", Done, "field by field as spec.containers below"),
    row(
        "spec.ephemeralContainers",
        Done,
        "added to a pod that runs, by `rhizome debug` or `kubectl debug`; at creation refused, as by the API server",
    ),
    row("spec.containers[].name", Done, ""),
    row("spec.containers[].image", Done, ""),
    row("spec.containers[].command", Done, ""),
    row("spec.containers[].args", Done, ""),
    row("spec.containers[].workingDir", Done, ""),
    row("spec.containers[].ports[].name", Done, ""),
    row("spec.containers[].ports[].containerPort", Done, "said, not done: every port of a container is open"),
    row("spec.containers[].ports[].protocol", Done, ""),
    row(
        "spec.containers[].ports[].hostPort",
        Done,
        "by the plugin `portmap` of a CNI configuration, or with hostNetwork, where it is the container's port; else it leads nowhere, which a warning says",
    ),
    row("spec.containers[].ports[].hostIP", Done, "goes with hostPort"),
    row("spec.containers[].envFrom", Done, ""),
    row("spec.containers[].env[].name", Done, ""),
    row("spec.containers[].env[].value", Done, "with `$(NAME)`"),
    row("spec.containers[].env[].valueFrom.fieldRef", Done, ""),
    row("spec.containers[].env[].valueFrom.configMapKeyRef", Done, ""),
    row("spec.containers[].env[].valueFrom.secretKeyRef", Done, ""),
    row("spec.containers[].env[].valueFrom.resourceFieldRef", Done, ""),
    row("spec.containers[].env[].valueFrom.fileKeyRef", Refused, ""),
    row(
        "spec.containers[].resources.limits",
        Checked,
        "cpu, memory and ephemeral-storage, which is measured every 10 s: a pod that has more is evicted",
    ),
    row(
        "spec.containers[].resources.requests",
        Checked,
        "cpu and memory; others mean nothing on one machine",
    ),
    row("spec.containers[].resources.claims", Refused, ""),
    row("spec.containers[].resizePolicy", NoMeaning, ""),
    row(
        "spec.containers[].restartPolicy",
        Done,
        "also Always of an init container, which makes it a sidecar",
    ),
    row("spec.containers[].restartPolicyRules[].action", Values(&["Restart"]), ""),
    row(
        "spec.containers[].restartPolicyRules[].exitCodes",
        Done,
        "the first rule that matches counts, else restartPolicy",
    ),
    row("spec.containers[].volumeMounts[].name", Done, ""),
    row("spec.containers[].volumeMounts[].mountPath", Done, ""),
    row("spec.containers[].volumeMounts[].readOnly", Done, ""),
    row("spec.containers[].volumeMounts[].recursiveReadOnly", Done, "needs Linux 5.12"),
    row("spec.containers[].volumeMounts[].subPath", Done, ""),
    row("spec.containers[].volumeMounts[].subPathExpr", Done, ""),
    row("spec.containers[].volumeMounts[].mountPropagation", Done, ""),
    row(
        "spec.containers[].volumeDevices",
        Refused,
        "no block device is given to a container; a privileged one has all that the machine has",
    ),
    row(
        "spec.containers[].livenessProbe",
        Done,
        "made from inside the pod's network; a host that is not said is 127.0.0.1",
    ),
    row("spec.containers[].readinessProbe", Done, "likewise"),
    row("spec.containers[].startupProbe", Done, "likewise"),
    row("spec.containers[].lifecycle.postStart", Done, "a tcpSocket hook fails, as in Kubernetes"),
    row("spec.containers[].lifecycle.preStop", Done, "a tcpSocket hook fails, as in Kubernetes"),
    row(
        "spec.containers[].lifecycle.stopSignal",
        Done,
        "with `os.name: linux`, as in Kubernetes; goes before the image's",
    ),
    row("spec.containers[].terminationMessagePath", Done, ""),
    row("spec.containers[].terminationMessagePolicy", Done, ""),
    row(
        "spec.containers[].imagePullPolicy",
        Done,
        "when the pod is created; imported images are not asked for",
    ),
    row("spec.containers[].securityContext.capabilities", Done, ""),
    row("spec.containers[].securityContext.privileged", Done, ""),
    row("spec.containers[].securityContext.runAsUser", Done, ""),
    row("spec.containers[].securityContext.runAsGroup", Done, ""),
    row("spec.containers[].securityContext.runAsNonRoot", Done, ""),
    row("spec.containers[].securityContext.readOnlyRootFilesystem", Done, ""),
    row("spec.containers[].securityContext.allowPrivilegeEscalation", Done, ""),
    row("spec.containers[].securityContext.procMount", Done, ""),
    row(
        "spec.containers[].securityContext.seccompProfile",
        Done,
        "Localhost: a file below the folder seccomp of the state folder",
    ),
    row(
        "spec.containers[].securityContext.appArmorProfile",
        Done,
        "where the kernel has AppArmor, else a container with a profile is refused",
    ),
    row("spec.containers[].securityContext.seLinuxOptions", Done, SE_LINUX),
    row("spec.containers[].securityContext.windowsOptions", Checked, "refused: Linux only"),
    row("spec.containers[].stdin", Done, ""),
    row("spec.containers[].stdinOnce", Done, ""),
    row("spec.containers[].tty", Done, ""),
    row("spec.restartPolicy", Done, ""),
    row("spec.terminationGracePeriodSeconds", Done, ""),
    row("spec.activeDeadlineSeconds", Done, "counted from every start"),
    row("spec.dnsPolicy", Done, "the node's name servers, or with None those of dnsConfig"),
    row("spec.dnsConfig", Done, "added to the node's settings; with dnsPolicy None alone"),
    row("spec.nodeSelector", NoMeaning, ""),
    row("spec.serviceAccountName", NoMeaning, "there are no service accounts, so no token is mounted"),
    row("spec.serviceAccount", NoMeaning, "the old name of serviceAccountName"),
    row("spec.automountServiceAccountToken", NoMeaning, "no token is mounted"),
    row("spec.nodeName", NoMeaning, ""),
    row("spec.hostNetwork", Done, ""),
    row("spec.hostPID", Done, ""),
    row("spec.hostIPC", Done, ""),
    row("spec.shareProcessNamespace", Done, ""),
    row("spec.securityContext.runAsUser", Done, ""),
    row("spec.securityContext.runAsGroup", Done, ""),
    row("spec.securityContext.runAsNonRoot", Done, ""),
    row("spec.securityContext.supplementalGroups", Done, ""),
    row("spec.securityContext.supplementalGroupsPolicy", Done, ""),
    row(
        "spec.securityContext.seccompProfile",
        Done,
        "Localhost: a file below the folder seccomp of the state folder",
    ),
    row("spec.securityContext.fsGroup", Done, "for all volumes but hostPath and image, once a pod"),
    row("spec.securityContext.fsGroupChangePolicy", Done, "for claims, as in the kubelet"),
    row(
        "spec.securityContext.sysctls",
        Checked,
        "those of the pod's own namespaces: the kubelet's safe ones, others with rhizome.dev/allowed-unsafe-sysctls",
    ),
    row(
        "spec.securityContext.appArmorProfile",
        Done,
        "where the kernel has AppArmor, else a container with a profile is refused",
    ),
    row("spec.securityContext.seLinuxOptions", Done, SE_LINUX),
    row("spec.securityContext.seLinuxChangePolicy", NoMeaning, "volumes keep their labels"),
    row("spec.securityContext.windowsOptions", Checked, "refused: Linux only"),
    row("spec.imagePullSecrets", Done, "Secrets of the same files"),
    row("spec.hostname", Done, ""),
    row("spec.subdomain", Done, "in /etc/hosts, in the domain svc.cluster.local"),
    row("spec.setHostnameAsFQDN", Done, ""),
    row("spec.hostnameOverride", Done, ""),
    row("spec.hostAliases", Done, ""),
    row("spec.affinity", NoMeaning, ""),
    row("spec.schedulerName", NoMeaning, ""),
    row("spec.tolerations", NoMeaning, ""),
    row("spec.priorityClassName", NoMeaning, ""),
    row("spec.priority", NoMeaning, ""),
    row("spec.preemptionPolicy", NoMeaning, ""),
    row("spec.topologySpreadConstraints", NoMeaning, ""),
    row("spec.overhead", NoMeaning, ""),
    row("spec.enableServiceLinks", NoMeaning, "there are no services"),
    row("spec.schedulingGroup", NoMeaning, ""),
    row(
        "spec.readinessGates",
        Done,
        "a pod with one is not Ready until somebody sets its condition, which nobody does here",
    ),
    row("spec.schedulingGates", Refused, ""),
    row("spec.runtimeClassName", Refused, ""),
    row("spec.os.name", Values(&["linux"]), ""),
    row(
        "spec.hostUsers",
        Done,
        "false needs Linux 5.19, and file systems below images and volumes that can map ids",
    ),
    row("spec.resourceClaims", Refused, ""),
    row(
        "spec.resources.limits",
        Checked,
        "cpu and memory, of the pod's cgroup and of containers without limits of their own",
    ),
    row("spec.resources.requests", Checked, "cpu and memory"),
    row("spec.resources.claims", Refused, ""),
];

/// The row that speaks for a path: its own, or that of the nearest field above. None where only fields below have rows.
#[must_use]
pub fn find(path: &str) -> Option<&'static Row> {
    find_in(PODS, path)
}

fn find_in(rows: &'static [Row], path: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.path == path)
}

fn has_rows_below(rows: &[Row], path: &str) -> bool {
    rows.iter().any(|row| {
        row.path
            .strip_prefix(path)
            .is_some_and(|rest| path.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    })
}

/// What the user should know of an object that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The object.
    pub object: ObjectId,
    /// What.
    pub remark: Remark,
}

/// What there is to know of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Fields that have no meaning on one machine: their paths, as written, in the order of the API.
    NoMeaning(Vec<String>),
    /// The whole kind has no meaning on one machine.
    KindWithoutMeaning,
    /// Something that is done in another way than in a cluster.
    Other(String),
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}: ", self.object.kind, self.object.name)?;
        match &self.remark {
            Remark::NoMeaning(fields) => {
                write!(f, "accepted, without meaning on one machine: {}", fields.join(", "))
            }
            Remark::KindWithoutMeaning => f.write_str("accepted, without meaning on one machine"),
            Remark::Other(text) => f.write_str(text),
        }
    }
}

/// What of an object is not supported, and what the user should know of the rest.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) errors: FieldErrors,
    pub(crate) remarks: Vec<Remark>,
}

impl Verdict {
    /// Fields without meaning; none are no remark.
    fn no_meaning(&mut self, fields: Vec<String>) {
        if !fields.is_empty() {
            self.remarks.push(Remark::NoMeaning(fields));
        }
    }
}

/// What of a Pod is not supported, and what has no meaning. `node` is the Pod as the user wrote it, of which the paths
/// `left_out` are no fields of a Pod.
pub(crate) fn pod(pod: &Pod, node: &Node, left_out: &HashSet<String>) -> Verdict {
    let (mut verdict, fields) = pod_at(&Path::new(""), pod, node, left_out);
    verdict.no_meaning(fields);
    verdict
}

/// What of a valid Pod cannot be done.
#[must_use]
pub fn pod_errors(made: &Pod, node: &Node, left_out: &HashSet<String>) -> FieldErrors {
    pod(made, node, left_out).errors
}

/// What of a valid workload cannot be done.
#[must_use]
pub fn workload_errors(
    made: &crate::validate::Workload,
    node: &Node,
    left_out: &HashSet<String>,
) -> FieldErrors {
    workload(made, node, left_out).errors
}

/// What of a valid PersistentVolume cannot be done.
#[must_use]
pub fn persistent_volume_errors(node: &Node, left_out: &HashSet<String>) -> FieldErrors {
    persistent_volume(node, left_out).errors
}

/// What of a valid PersistentVolumeClaim cannot be done.
#[must_use]
pub fn claim_errors(node: &Node, left_out: &HashSet<String>) -> FieldErrors {
    claim(node, left_out).errors
}

/// The same for a Pod, or the template of one, that stands at `base`.
fn pod_at(base: &Path, pod: &Pod, node: &Node, left_out: &HashSet<String>) -> (Verdict, Vec<String>) {
    let mut found = Walk::new(PODS, base, left_out);
    found.walk(node, "", base);
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    found.resources(spec);
    found.windows(spec);
    found.bidirectional_in_userns(pod, spec);
    found.sysctls(pod, spec);
    found.fqdn(pod);
    found.claims(spec);
    found.mediums(spec);
    found.tokens(spec);
    if let Err(errors) = crate::annotations::read_at(pod, &found.base) {
        found.errors.list.extend(errors.list);
    }
    found.end()
}

const CONTAINERS: &str = "spec.containers";
const INIT_CONTAINERS: &str = "spec.initContainers";
const NOT_YET: &str = "not supported yet by this version of rhizome";

struct Walk<'a> {
    rows: &'static [Row],
    /// Where the object stands that the rows are of.
    base: Path,
    errors: FieldErrors,
    remarks: Vec<Remark>,
    /// Fields without meaning.
    notes: Vec<String>,
    left_out: &'a HashSet<String>,
}

impl<'a> Walk<'a> {
    fn new(rows: &'static [Row], base: &Path, left_out: &'a HashSet<String>) -> Self {
        let (errors, base) = (FieldErrors::default(), base.clone());
        Self { rows, base, errors, remarks: Vec::new(), notes: Vec::new(), left_out }
    }

    /// What was found, and the fields without meaning.
    fn end(self) -> (Verdict, Vec<String>) {
        (Verdict { errors: self.errors, remarks: self.remarks }, self.notes)
    }

    fn walk(&mut self, node: &Node, pattern: &str, path: &Path) {
        if node.value == Value::Null || self.left_out.contains(path.as_said()) {
            return;
        }
        if let Some(row) = find_in(self.rows, pattern)
            && !(has_rows_below(self.rows, pattern) && descends(row, node))
        {
            return self.judge(row, node, path);
        }
        match &node.value {
            Value::Mapping(mapping) => {
                for entry in &mapping.entries {
                    let below = if pattern.is_empty() {
                        entry.key.clone()
                    } else {
                        format!("{pattern}.{}", entry.key)
                    };
                    // All kinds of containers have the same rows.
                    let below = if below == INIT_CONTAINERS { CONTAINERS.to_owned() } else { below };
                    let known = find_in(self.rows, &below).is_some() || has_rows_below(self.rows, &below);
                    // What has neither a row nor rows below is spoken for from above.
                    match (known, find_in(self.rows, pattern)) {
                        (true, _) => self.walk(&entry.value, &below, &path.child(&entry.key)),
                        (false, Some(_)) if self.left_out.contains(path.child(&entry.key).as_said()) => {}
                        (false, Some(row)) => self.judge(row, &entry.value, &path.child(&entry.key)),
                        // Unknown fields were refused, or are left out, before.
                        (false, None) => {}
                    }
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{pattern}[]"), &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self, row: &Row, node: &Node, path: &Path) {
        match row.support {
            Support::Done | Support::Checked => {}
            Support::NoMeaning => {
                if !says_nothing(node) {
                    self.notes.push(path.as_said().to_owned());
                }
            }
            Support::Refused => {
                // `downwardAPI: {}` is a volume of that kind.
                if !says_nothing(node) || (row.path == "spec.volumes[]" && node.value != Value::Null) {
                    self.errors.other(path, NOT_YET);
                }
            }
            Support::Values(values) => {
                let word = match &node.value {
                    Value::String(text) => text.clone(),
                    Value::Bool(value) => value.to_string(),
                    _ => return,
                };
                if !values.contains(&word.as_str()) {
                    self.errors.other(path, &format!("{} is {NOT_YET}", crate::problem::go_quote(&word)));
                }
            }
        }
    }

    fn each(&mut self, spec: &PodSpec, mut check: impl FnMut(&mut Self, &Path, &Container)) {
        let init = spec.init_containers.as_deref().unwrap_or_default();
        for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
            for (index, container) in containers.iter().enumerate() {
                check(self, &self.base.child("spec").child(list).index(index), container);
            }
        }
    }

    /// A claim's name becomes a folder's; the API server takes any, and then there is no such claim.
    fn claims(&mut self, spec: &PodSpec) {
        for (index, volume) in spec.volumes.iter().flatten().enumerate() {
            let Some(source) = &volume.persistent_volume_claim else { continue };
            let path = self.base.child("spec").child("volumes").index(index).child("persistentVolumeClaim");
            let wrong = crate::validate::dns_subdomain(&source.claim_name);
            self.errors.invalid_all(&path.child("claimName"), &source.claim_name, wrong);
        }
    }

    fn tokens(&mut self, spec: &PodSpec) {
        for (index, volume) in spec.volumes.iter().flatten().enumerate() {
            let sources = volume.projected.as_ref().and_then(|source| source.sources.as_deref());
            for (part, source) in sources.unwrap_or_default().iter().enumerate() {
                let Some(token) = &source.service_account_token else { continue };
                let path = self.base.child("spec").child("volumes").index(index).child("projected");
                self.remarks.push(Remark::Other(format!(
                    "{}: there are no service accounts on this node: the file {:?} is left out",
                    path.child("sources").index(part).child("serviceAccountToken").as_said(),
                    token.path
                )));
            }
        }
    }

    fn resources(&mut self, spec: &PodSpec) {
        if let Some(resources) = &spec.resources {
            let path = self.base.child("spec").child("resources");
            for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
                for name in amounts.iter().flatten().map(|(name, _)| name) {
                    if !["cpu", "memory"].contains(&name.as_str()) {
                        self.errors.other(&path.child(list).key(name), NOT_YET);
                    }
                }
            }
        }
        self.each(spec, |found, path, container| {
            let Some(resources) = &container.resources else { return };
            let path = path.child("resources");
            for name in resources.limits.iter().flatten().map(|(name, _)| name) {
                if name.starts_with("hugepages-") {
                    let here = path.child("limits").key(name);
                    found.remarks.push(Remark::Other(format!(
                        "{}: says which pages an emptyDir has; nothing limits how many",
                        here.as_said()
                    )));
                } else if !["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) {
                    found.errors.other(&path.child("limits").key(name), NOT_YET);
                }
            }
            for name in resources.requests.iter().flatten().map(|(name, _)| name) {
                let limited = resources.limits.as_ref().is_some_and(|limits| limits.contains_key(name));
                if !["cpu", "memory"].contains(&name.as_str()) && !limited {
                    found.notes.push(path.child("requests").key(name).as_said().to_owned());
                }
            }
        });
    }

    /// The kubelet's words, where the name is known before the Pod is made.
    fn fqdn(&mut self, pod: &Pod) {
        let name = crate::cri::hostname(pod);
        let named =
            pod.metadata.name.is_some() || pod.spec.as_ref().is_some_and(|spec| spec.hostname.is_some());
        let fqdn = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
        if fqdn && named && name.len() > HOSTNAME_MAX {
            let path = self.base.child("spec").child("setHostnameAsFQDN");
            self.errors.other(
                &path,
                &format!(
                    "Failed to construct FQDN from Pod hostname and cluster domain, FQDN {name} is too long ({HOSTNAME_MAX} characters is the max, {} characters requested)",
                    name.len()
                ),
            );
        }
    }

    /// The pages that emptyDirs may ask for; whether this machine has them is seen when they are made.
    fn mediums(&mut self, spec: &PodSpec) {
        for (index, volume) in spec.volumes.iter().flatten().enumerate() {
            let Some(medium) = volume.empty_dir.as_ref().and_then(|source| source.medium.as_deref()) else {
                continue;
            };
            let path =
                self.base.child("spec").child("volumes").index(index).child("emptyDir").child("medium");
            let pages = medium.strip_prefix("HugePages-");
            let known = ["", "Memory", "HugePages"].contains(&medium)
                || pages.is_some_and(|size| crate::quantity::Quantity::parse(size).is_ok());
            if !known {
                self.errors
                    .other(&path, &format!("unknown storage medium {}", crate::problem::go_quote(medium)));
            }
        }
    }

    /// In the API server's words for a pod whose `os.name` is linux, which every pod here is.
    fn windows(&mut self, spec: &PodSpec) {
        let detail = "windows options cannot be set for a linux pod";
        let linux = spec.os.as_ref().is_some_and(|os| os.name == "linux");
        if linux {
            // Said by the validation.
            return;
        }
        if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
            let path = self.base.child("spec").child("securityContext").child("windowsOptions");
            self.errors.forbidden(&path, detail);
        }
        self.each(spec, |found, path, container| {
            if container.security_context.as_ref().is_some_and(|own| own.windows_options.is_some()) {
                found.errors.forbidden(&path.child("securityContext").child("windowsOptions"), detail);
            }
        });
    }

    /// Where the container's root is not the machine's, Bidirectional gives it something that it does not have otherwise.
    fn bidirectional_in_userns(&mut self, pod: &Pod, spec: &PodSpec) {
        let opted_in = crate::annotations::read(pod).is_ok_and(|all| all.bidirectional_in_userns);
        if spec.host_users != Some(false) || opted_in {
            return;
        }
        self.each(spec, |found, path, container| {
            for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
                if mount.mount_propagation.as_deref() == Some("Bidirectional") {
                    let here = path.child("volumeMounts").index(index).child("mountPropagation");
                    found.errors.forbidden(&here, format!(
                        "with hostUsers: false the container's root could unmount what the host has mounted below the volume; to allow it annotate the pod with {}: \"true\"",
                        crate::annotations::BIDIRECTIONAL_IN_USERNS
                    ));
                }
            }
        });
    }

    fn sysctls(&mut self, pod: &Pod, spec: &PodSpec) {
        let annotations = pod.metadata.annotations.as_ref();
        let allowed = annotations.and_then(|all| all.get(crate::annotations::ALLOWED_UNSAFE_SYSCTLS));
        let allowed = allowed.map(String::as_str).unwrap_or_default();
        crate::sysctl::check(spec, &self.base, allowed, &mut self.errors);
    }
}

/// A row that speaks for what is below and has rows there is looked through where there is something below.
fn descends(row: &Row, node: &Node) -> bool {
    row.support != Support::Done && matches!(node.value, Value::Mapping(_) | Value::Sequence(_))
}

/// Go's zero values: what would be so without the field.
fn says_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) | Value::Number(Number::Int(0)) => true,
        Value::String(text) => text.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(mapping) => mapping.entries.is_empty(),
        _ => false,
    }
}

/// The table as the page docs/reference/pod-fields.md.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(
        "# Fields of a Pod\n\n\
         Written from the table in `crates/manifest/src/support.rs`, and checked by a test: `RHIZOME_BLESS=1 cargo test -p manifest` writes it anew.\n\n\
         A row speaks for all fields below it that have no row of their own. A field that is refused is an error that names it, unless it says what would be so without it. \
         What has no meaning on one machine is accepted and named once.\n\n\
         | field | | remark |\n| --- | --- | --- |\n",
    );
    PODS.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// A row as a line of a table.
fn line(row: &Row) -> String {
    let what = match row.support {
        Done => "done".to_owned(),
        Values(values) => {
            let words: Vec<String> = values.iter().map(|value| format!("`{value:?}`")).collect();
            format!("done for {}", words.join(", "))
        }
        NoMeaning => "no meaning on one machine".to_owned(),
        Refused => "refused".to_owned(),
        Checked => "done in part".to_owned(),
    };
    format!("| `{}` | {what} | {} |\n", row.path, row.remark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, Type};
    use crate::{Options, Source, load};

    /// Every field that the API has is spoken for: by its own row, by rows for all that is below it, or from above.
    #[test]
    fn every_field_of_the_api_has_a_row() {
        fn check(ty: &Type, pattern: &str, spoken_for: bool, missing: &mut Vec<String>) {
            let row = find(pattern);
            if row.is_some() && !has_rows_below(PODS, pattern) {
                return;
            }
            let spoken_for = spoken_for || row.is_some();
            match ty {
                Type::Struct(name) if has_rows_below(PODS, pattern) => {
                    for field in &schema::find(name).unwrap().fields {
                        let below = if pattern.is_empty() {
                            field.name.to_owned()
                        } else {
                            format!("{pattern}.{}", field.name)
                        };
                        check(&field.ty, &below, spoken_for, missing);
                    }
                }
                Type::List(item) if has_rows_below(PODS, pattern) => {
                    check(item, &format!("{pattern}[]"), spoken_for, missing)
                }
                _ if spoken_for => {}
                _ => missing.push(pattern.to_owned()),
            }
        }
        let mut missing = Vec::new();
        check(&Type::Struct("v1.Pod"), "", false, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    /// And no row is for a field that is not there.
    #[test]
    fn every_row_is_a_field_of_the_api() {
        for row in PODS {
            let mut ty = Type::Struct("v1.Pod");
            for step in row.path.split('.') {
                let (name, list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
                let Type::Struct(of) = ty else { panic!("{}", row.path) };
                ty = schema::find(of)
                    .unwrap()
                    .field(name)
                    .unwrap_or_else(|| panic!("{}", row.path))
                    .ty
                    .clone();
                if list {
                    let Type::List(item) = ty else { panic!("{}", row.path) };
                    ty = *item;
                }
            }
        }
    }

    fn refused(spec: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: a, image: b}}]\n{spec}\n"
        );
        match load(&[Source { name: "f", bytes: text.as_bytes() }], &Options::default()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.message).collect(),
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (spec, message) in [
            (
                "  initContainers: [{name: i, image: b, securityContext: {windowsOptions: {runAsUserName: u}}}]",
                "spec.initContainers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ),
            (
                "  volumes: [{name: v, nfs: {server: s, path: /x}}]",
                "spec.volumes[0].nfs: not supported yet by this version of rhizome",
            ),
            (
                "  volumes: [{name: v, emptyDir: {medium: Disk}}]",
                "spec.volumes[0].emptyDir.medium: unknown storage medium \"Disk\"",
            ),
            (
                "  setHostnameAsFQDN: true\n  subdomain: a-long-subdomain-of-this-pod-with-many-words\n  hostname: h",
                "spec.setHostnameAsFQDN: Failed to construct FQDN from Pod hostname and cluster domain, FQDN h.a-long-subdomain-of-this-pod-with-many-words.default.svc.cluster.local is too long (64 characters is the max, 72 characters requested)",
            ),
            (
                "  volumes: [{name: v, nfs: {server: s, path: /a}}]",
                "spec.volumes[0].nfs: not supported yet by this version of rhizome",
            ),
            (
                "  volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {name: b, path: c}}]}}]",
                "spec.volumes[0].projected.sources[0].clusterTrustBundle: not supported yet by this version of rhizome",
            ),
            (
                "  securityContext: {sysctls: [{name: kernel.msgmax, value: \"1\"}]}",
                "spec.securityContext.sysctls[0].name: forbidden sysctl: \"kernel.msgmax\" not allowlisted",
            ),
            (
                "  securityContext: {windowsOptions: {runAsUserName: u}}",
                "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ),
        ] {
            assert_eq!(refused(spec), [message], "{spec}");
        }
    }

    #[test]
    fn what_says_nothing_is_not_refused() {
        for spec in [
            "  initContainers: [{name: i, image: b}, {name: s, image: b, restartPolicy: Always}]",
            "  setHostnameAsFQDN: false",
            "  hostUsers: true",
            "  volumes: [{name: v, emptyDir: {}}, {name: w, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]",
            "  securityContext: {runAsNonRoot: true}",
            "  securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: \"1\"}]}",
            "  readinessGates: null",
        ] {
            assert_eq!(refused(spec), Vec::<String>::new(), "{spec}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_named_once() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  tolerations: [{operator: Exists}]\n  nodeSelector: {a: b}\n  containers: [{name: a, image: b, resources: {requests: {ephemeral-storage: 1Gi}}}]\n";
        let loaded = load(&[Source { name: "f", bytes: text.as_bytes() }], &Options::default()).unwrap();
        assert_eq!(
            loaded.notes[0].to_string(),
            "Pod \"p\": accepted, without meaning on one machine: spec.tolerations, spec.nodeSelector, spec.containers[0].resources.requests[ephemeral-storage]"
        );
    }
}
