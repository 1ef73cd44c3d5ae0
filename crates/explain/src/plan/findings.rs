//! What else there is to say of containers' volumes: what pins, what can be written, what is not seen, what stays.

use super::node::There;
use super::pods::{ContainerAsked, MountAsked, NODE_FILES, VolumeKind};
use super::stage::{Planned, Stage, Started};
use crate::build::What;
use crate::finding::Finding;
use manifest::cri::MountPropagation;
use mount_table::{Mount, MountTable};
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Op, World};

/// Lines of evidence for one finding.
const MAX_SEEN: usize = 5;

/// A volume of a container that runs.
struct Subject<'a> {
    stage: &'a Stage<'a>,
    host: &'a MountTable,
    planned: &'a Planned,
    started: &'a Started,
    mount: &'a MountAsked,
    /// Where it is in the container.
    target: PathBuf,
}

/// All findings, container by container.
pub(super) fn findings(stage: &Stage<'_>, bare: &Stage<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let host = bare.host();
    for (planned, started) in stage.running() {
        for mount in &planned.asked.mounts {
            let target = stage.target(mount);
            let subject = Subject { stage, host: &host, planned, started, mount, target };
            let rules = [
                missing,
                pins,
                writable,
                hidden_by_sub_path,
                private_below,
                remount_not_seen,
                ends_at_slave,
                left_at_exit,
                ours_goes,
                needs_mount_points,
            ];
            let told = rules.into_iter().filter_map(|rule| rule(&subject));
            findings.extend(told.map(|finding| finding.about(subject.named())));
        }
    }
    findings
}

impl Subject<'_> {
    fn named(&self) -> String {
        let volume = self.mount.mount.volume.as_deref().unwrap_or_default();
        format!(
            "{}: volume {volume} at {}",
            self.planned.asked.id(),
            self.mount.mount.container_path.display()
        )
    }

    fn propagation(&self) -> MountPropagation {
        self.mount.mount.propagation
    }

    fn propagates(&self) -> bool {
        self.propagation() != MountPropagation::Private
    }

    /// What the node has mounted below the place, visible.
    fn below(&self) -> Vec<&Mount> {
        let below = self.host.below(&self.mount.place);
        below.into_iter().filter(|mount| mount.mount_point != self.mount.place).collect()
    }

    /// The container's mounts of these.
    fn copies<'b>(&'b self, below: &[&'b Mount]) -> Vec<(&'b Mount, &'b Mount)> {
        let copy = |mount: &&'b Mount| {
            let rest = mount.mount_point.strip_prefix(&self.mount.place).ok()?;
            let copy = self.started.table.topmost_at(&self.target.join(rest))?;
            (copy.device == mount.device && copy.root == mount.root).then_some((*mount, copy))
        };
        below.iter().filter_map(copy).collect()
    }
}

trait Evidence {
    fn seen_paths<'a>(self, paths: impl ExactSizeIterator<Item = &'a Path>) -> Self;
}

impl Evidence for Finding {
    fn seen_paths<'a>(mut self, paths: impl ExactSizeIterator<Item = &'a Path>) -> Finding {
        let more = paths.len().saturating_sub(MAX_SEEN);
        for path in paths.take(MAX_SEEN) {
            self = self.seen(path.display().to_string());
        }
        if more > 0 { self.seen(format!("and {more} more")) } else { self }
    }
}

/// `1 mount`, `2 mounts`.
fn some(count: usize) -> String {
    if count == 1 { "1 mount".to_owned() } else { format!("{count} mounts") }
}

/// A source that is not there and has no type: a runtime makes a directory of it.
fn missing(subject: &Subject<'_>) -> Option<Finding> {
    let missing = subject.stage.there(subject.mount) == Some(There::Missing);
    let unasked = subject.mount.kind == VolumeKind::HostPath && subject.mount.untyped;
    (missing && unasked && subject.mount.sub_path.is_none()).then(|| {
        Finding::limit(
            "source-missing",
            format!("{}: {} is not there", subject.named(), subject.mount.place.display()),
            "The hostPath has no type, so an empty directory is made of it, also where a socket or a file was meant. With `type: Directory`, `File` or `Socket` the pod would wait for it instead.",
        )
    })
}

/// A private copy of what is mounted on the node: it stays when the node unmounts it.
fn pins(subject: &Subject<'_>) -> Option<Finding> {
    if subject.propagates() {
        return None;
    }
    let mut below = subject.below();
    // Nobody unmounts these while the machine runs, and no device is behind them.
    below.retain(|mount| !["/dev", "/proc", "/sys"].iter().any(|of| mount.mount_point.starts_with(of)));
    let copies = subject.copies(&below);
    let (first, copy) = copies.first()?;
    // Asked of the model: the node unmounts one of them.
    let mut world = subject.stage.world.clone();
    let unmount = Op::UnmountPath { target: first.mount_point.clone(), detach: true, expire: false };
    world.apply(World::FIRST_TASK, &unmount).ok()?;
    let after = world.table(subject.started.task).ok()?;
    after.get(copy.id)?;
    let finding = Finding::limit(
        "pins-mounts",
        format!("{} keeps {} of the node in use", subject.named(), some(copies.len())),
        "It is a private copy of the tree as it is at the container's start. What the node unmounts later stays mounted here, so that its device stays busy; what it mounts later is not seen.",
    );
    let finding = finding.seen_paths(copies.iter().map(|(mount, _)| mount.mount_point.as_path()));
    // The API server refuses the two together.
    if subject.mount.mount.recursive_read_only {
        return Some(finding);
    }
    Some(finding.mend_manifest(
        "mountPropagation: HostToContainer",
        "of this volumeMount: it then follows the node (whose mount must be shared)",
    ))
}

/// Below a read-only volume.
fn writable(subject: &Subject<'_>) -> Option<Finding> {
    let mount = &subject.mount.mount;
    if !mount.readonly || mount.recursive_read_only || !subject.mount.directory {
        return None;
    }
    let below = subject.below();
    let copies = subject.copies(&below);
    let writable: Vec<&Path> = copies
        .iter()
        .filter(|(_, copy)| !copy.is_read_only())
        .map(|(_, copy)| copy.mount_point.as_path())
        .collect();
    let files = matches!(subject.mount.kind, VolumeKind::Directory | VolumeKind::Files);
    let later = subject.propagates() && !files;
    if writable.is_empty() && !later {
        return None;
    }
    let title = match (writable.len(), later) {
        (0, _) => format!("{} is read-only, but what is mounted in it later can be written", subject.named()),
        (count, false) => {
            format!("{} is read-only, but {} in it can be written", subject.named(), some(count))
        }
        (count, true) => {
            format!(
                "{} is read-only, but {} in it, and all that come later, can be written",
                subject.named(),
                some(count)
            )
        }
    };
    let why = match subject.propagates() {
        false => "readOnly is of the volume's own mount alone; each mount below has an attribute of its own.",
        true => {
            "readOnly is of the volume's own mount alone; each mount below has an attribute of its own. recursiveReadOnly is not to be had together with propagation."
        }
    };
    let finding = Finding::limit("writable-below-read-only", title, why).seen_paths(writable.into_iter());
    Some(match later {
        true => finding,
        false => finding.mend_manifest(
            "recursiveReadOnly: Enabled",
            "of this volumeMount (Linux 5.12); not together with propagation",
        ),
    })
}

/// A subPath is bound without what is mounted below it.
fn hidden_by_sub_path(subject: &Subject<'_>) -> Option<Finding> {
    let sub_path = subject.mount.sub_path.as_ref()?;
    let below = subject.below();
    if below.is_empty() && !subject.propagates() {
        return None;
    }
    let title = match below.len() {
        0 => format!(
            "{}: what is mounted in {} before the pod begins is not seen",
            subject.named(),
            sub_path.display()
        ),
        count => format!("{}: {} in {} not seen", subject.named(), some(count), sub_path.display()),
    };
    let why = "The kubelet binds a subPath once a pod, without the mounts below it. What is mounted there later arrives on that bind if the volume is shared, and then keeps the pod's volumes from being taken away.";
    Some(
        Finding::limit("subpath-hides-mounts", title, why)
            .seen_paths(below.iter().map(|m| m.mount_point.as_path())),
    )
}

/// Mounts below a volume that are not shared, though the volume is.
fn private_below(subject: &Subject<'_>) -> Option<Finding> {
    let private: Vec<&Mount> = match subject.propagates() {
        true => subject
            .below()
            .into_iter()
            .filter(|m| !m.propagation.is_shared() && !m.propagation.is_slave())
            // Of pods, ours too: nobody is to type them otherwise.
            .filter(|m| !m.mount_point.starts_with(&subject.stage.node.pods))
            .collect(),
        false => Vec::new(),
    };
    if private.is_empty() {
        return None;
    }
    let paths: Vec<String> =
        private.iter().take(MAX_SEEN).map(|m| mount_table::shell_word(&m.mount_point)).collect();
    let finding = Finding::limit(
        "private-below",
        format!("{}: {} in it without propagation", subject.named(), some(private.len())),
        "Every mount has a type of its own. The runtimes look only at the one that carries the source; below these nothing goes either way, and nobody says so.",
    );
    let finding = finding.seen_paths(private.iter().map(|mount| mount.mount_point.as_path()));
    Some(finding.mend(
        format!("mount --make-shared {}", paths.join(" && mount --make-shared ")),
        "on the node, before the container starts",
    ))
}

/// A file system served by a program, whose root the volume is.
fn remount_not_seen(subject: &Subject<'_>) -> Option<Finding> {
    if subject.mount.kind != VolumeKind::HostPath || !subject.propagates() {
        return None;
    }
    let carrier = subject.host.carrier(&subject.mount.place)?;
    (carrier.mount_point == subject.mount.place && carrier.fs_type.starts_with("fuse")).then(|| {
        Finding::problem(
            "remount-not-seen",
            format!("{}: {} is a {} mount itself", subject.named(), subject.mount.place.display(), carrier.fs_type),
            "Propagation is of what is mounted in the volume. Should its server end and be mounted again, the new mount is beside the volume, and the container goes on with the dead one: transport endpoint is not connected.",
        )
        .mend_manifest("hostPath: the folder above", "so that the mount lies in the volume")
    })
}

/// A node that is itself a container: what is shared here may be a slave of somewhere else.
fn ends_at_slave(subject: &Subject<'_>) -> Option<Finding> {
    let carrier = subject.host.carrier(&subject.mount.place)?;
    let ends = subject.propagation() == MountPropagation::Bidirectional && carrier.propagation.is_slave();
    ends.then(|| {
        Finding::limit(
            "ends-at-slave",
            format!("{}: {} is shared here and a slave of somewhere else", subject.named(), carrier.mount_point.display()),
            "What the container mounts reaches this node and not the machine around it. So it is in a node that is a container (kind, k3d).",
        )
    })
}

/// What a container mounts in a Bidirectional volume stays when it ends.
fn left_at_exit(subject: &Subject<'_>) -> Option<Finding> {
    if subject.propagation() != MountPropagation::Bidirectional || !subject.mount.directory {
        return None;
    }
    // Asked of the model: it mounts, and ends.
    let mut stage = subject.stage.clone();
    let (inside, outside) = (subject.target.join("left"), subject.mount.place.join("left"));
    stage.make(World::FIRST_TASK, &outside, true);
    let op = Op::Mount {
        fs_type: "tmpfs".to_owned(),
        source: "left".to_owned(),
        target: inside,
        attributes: Attributes::default(),
    };
    stage.world.apply(subject.started.task, &op).ok()?;
    stage.world.exit(subject.started.task).ok()?;
    stage.host().topmost_at(&outside)?;
    let finding = match subject.mount.kind {
        VolumeKind::EmptyDir | VolumeKind::Memory => Finding::limit(
            "left-at-exit",
            format!("{}: what it mounts there is in the pod's way when that is removed", subject.named()),
            "The mounts stay on the node when the container ends. The kubelet then deletes the emptyDir's files through them, on whatever is mounted, or fails. Rhizome unmounts them first and never deletes across a mount.",
        ),
        _ => Finding::limit(
            "left-at-exit",
            format!("{}: what it mounts there stays on the node when it ends", subject.named()),
            "So it is in Kubernetes, and right for a driver that mounts for others. What the container mounts anew at every start, without unmounting it, is stacked once more each time. `rhizome ps` and `rm` name what is left.",
        )
        .mend_manifest(
            "rhizome.dev/mounts-at-end: detach",
            "an annotation of the pod, if the mounts are of no use without it: with rhizome they then go with it",
        ),
    };
    Some(finding)
}

/// An own mount below a volume that receives: a peer's unmount at its place takes it along.
fn ours_goes(subject: &Subject<'_>) -> Option<Finding> {
    if !subject.propagates() {
        return None;
    }
    let mut gone = Vec::new();
    for placed in subject.planned.placed.iter().filter(|placed| placed.target != subject.target) {
        let Ok(rest) = placed.target.strip_prefix(&subject.target) else { continue };
        let ours = subject.started.table.topmost_at(&placed.target)?;
        let on_node = subject.mount.place.join(rest);
        // Asked of the model: the node mounts at the same place, and unmounts that.
        let mut stage = subject.stage.clone();
        let directory = !matches!(&placed.what, What::Bind(bind) if !bind.directory);
        stage.make(World::FIRST_TASK, &on_node, directory);
        let there = Op::Bind { source: on_node.clone(), target: on_node.clone(), recursive: false };
        let unmount = Op::UnmountPath { target: on_node, detach: false, expire: false };
        let host = World::FIRST_TASK;
        if stage.world.apply(host, &there).is_err() || stage.world.apply(host, &unmount).is_err() {
            continue;
        }
        if stage.world.table(subject.started.task).is_ok_and(|table| table.get(ours.id).is_none()) {
            gone.push(placed.target.as_path());
        }
    }
    if gone.is_empty() {
        return None;
    }
    let finding = Finding::limit(
        "unmount-takes-ours",
        format!(
            "{}: {} of the container's own in it can be unmounted from outside",
            subject.named(),
            some(gone.len())
        ),
        "Unmounts propagate by place: should the node, or another container that the volume reaches, mount something at the same place and unmount that, the container's own mount there goes too. Mounted beside the volume it would not.",
    );
    Some(finding.seen_paths(gone.into_iter()))
}

/// What is mounted in a read-only volume needs a place there that nothing can make. (Where it is known to be missing, the
/// container has a fault.)
fn needs_mount_points(subject: &Subject<'_>) -> Option<Finding> {
    if !subject.mount.mount.readonly || !subject.mount.directory {
        return None;
    }
    let asked = &subject.planned.asked;
    let unknown = points_in(asked, subject.mount).into_iter().filter_map(|(point, of_volume)| {
        let place = mount_table::join(&subject.mount.place, &point);
        let known = subject.stage.node.source(&place).is_some();
        (!known && !is_made(subject, &point, of_volume)).then_some(place)
    });
    let places: Vec<PathBuf> = unknown.collect();
    if places.is_empty() {
        return None;
    }
    let what = match places.len() {
        1 => "a mount point".to_owned(),
        count => format!("{count} mount points"),
    };
    let finding = Finding::limit(
        "mount-point-in-read-only",
        format!("{} is read-only, and needs {what} that cannot be made", subject.named()),
        "Another volume, or a file that every container gets, is mounted in it. If the place is not there, the container does not start: mkdir …: read-only file system.",
    );
    Some(finding.seen_paths(places.iter().map(PathBuf::as_path)))
}

/// What a container has mounted directly in one of its volumes, by the path there, and whether it is a volume.
fn points_in(asked: &ContainerAsked, mount: &MountAsked) -> Vec<(PathBuf, bool)> {
    let own = &mount.mount.container_path;
    let volumes = asked.mounts.iter().map(|mount| mount.mount.container_path.as_path());
    let nearest = |point: &Path| {
        let above = volumes.clone().filter(|path| *path != point && point.starts_with(path));
        above.max_by_key(|path| path.components().count())
    };
    let files = NODE_FILES.map(Path::new).into_iter().chain([asked.termination_log.as_path()]);
    let points = volumes.clone().map(|path| (path, true)).chain(files.map(|path| (path, false)));
    let inside = points.filter(|(point, _)| nearest(point) == Some(own));
    inside.filter_map(|(point, volume)| Some((point.strip_prefix(own).ok()?.to_owned(), volume))).collect()
}

/// Whether somebody makes a mount point in a volume before the container starts: the kubelet in those that it fills
/// (`MakeNestedMountpoints()`), an earlier container of the pod that may write there.
fn is_made(subject: &Subject<'_>, point: &Path, of_volume: bool) -> bool {
    if of_volume && matches!(subject.mount.kind, VolumeKind::Directory | VolumeKind::Files) {
        return true;
    }
    let asked = &subject.planned.asked;
    let of_pod = subject.stage.containers.iter().map(|planned| &planned.asked);
    let earlier = of_pod.filter(|other| other.pod == asked.pod).take_while(|other| other.name != asked.name);
    earlier.flat_map(|other| other.mounts.iter().map(move |mount| (other, mount))).any(|(other, mount)| {
        mount.place == subject.mount.place
            && !mount.mount.readonly
            && points_in(other, mount).iter().any(|(made, _)| made == point)
    })
}
