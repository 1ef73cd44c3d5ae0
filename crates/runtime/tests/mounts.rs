//! The mount builder against the kernel: who sees whose mounts, and that nothing of ours appears on the host.

mod node;

use manifest::cri::{ContainerConfig, LinuxContainerSecurityContext, MountPropagation};
use node::{Case, Container, World, config};
use runtime::mounts::execute::Handles;
use runtime::mounts::{CgroupView, MountRequest, Verdict, prepare};
use rustix::mount::MountPropagationFlags;
use std::path::{Path, PathBuf};
use subtree_model::Op;

use MountPropagation::{Bidirectional, HostToContainer, Private};

fn main() {
    node::run(CASES)
}

const CASES: &[Case] = &[
    ("who_sees_whose_mounts", who_sees_whose_mounts),
    ("who_sees_whose_unmounts", who_sees_whose_unmounts),
    ("below_a_mount_that_was_there_before", below_a_mount_that_was_there_before),
    ("a_volume_below_a_bidirectional_one_stays_inside", a_volume_below_a_bidirectional_one_stays_inside),
    ("a_file_below_a_bidirectional_volume_stays_inside", a_file_below_a_bidirectional_volume_stays_inside),
    ("a_volume_below_a_mount_in_a_bidirectional_one", a_volume_below_a_mount_in_a_bidirectional_one),
    ("bidirectional_below_bidirectional", bidirectional_below_bidirectional),
    ("own_mounts_below_bidirectional_dev", own_mounts_below_bidirectional_dev),
    ("an_image_link_into_a_bidirectional_volume", an_image_link_into_a_bidirectional_volume),
    ("a_read_only_bidirectional_volume", a_read_only_bidirectional_volume),
    ("a_sub_directory_of_the_same_source", a_sub_directory_of_the_same_source),
    ("read_only_and_recursively_read_only", read_only_and_recursively_read_only),
    ("a_mount_of_the_host_in_the_window_is_noticed", a_mount_of_the_host_in_the_window_is_noticed),
    ("a_mount_of_the_host_after_the_window_arrives", a_mount_of_the_host_after_the_window_arrives),
    ("a_mount_elsewhere_is_nobodys_business", a_mount_elsewhere_is_nobodys_business),
    ("sources_that_are_not_shared", sources_that_are_not_shared),
    ("a_volume_over_the_root", a_volume_over_the_root),
    ("a_source_that_is_unbindable", a_source_that_is_unbindable),
    ("a_source_that_is_a_slave", a_source_that_is_a_slave),
    ("several_layers_and_a_long_path", several_layers_and_a_long_path),
    ("masked_and_read_only_paths", masked_and_read_only_paths),
    ("a_volume_at_proc_masks_only_what_it_has", a_volume_at_proc_masks_only_what_it_has),
    ("paths_with_blanks_and_newlines", paths_with_blanks_and_newlines),
    ("detach_tree_takes_all_and_only_that", detach_tree_takes_all_and_only_that),
];

/// The three modes against mounts of the host and of the container (the measured matrix of runc and crun).
fn who_sees_whose_mounts(world: &World) {
    for (mode, sees_host, host_sees) in
        [(Private, false, false), (HostToContainer, true, false), (Bidirectional, true, true)]
    {
        let container = world.start_with(mode);
        world.mount("vol/a");
        assert_eq!(container.has("/data/a"), sees_host, "{mode:?}: the host's mount, inside");
        container.mount("/data/b");
        assert!(container.has("/data/b"));
        assert_eq!(world.has("vol/b"), host_sees, "{mode:?}: the container's mount, on the host");
        drop(container);
        assert_eq!(world.has("vol/b"), host_sees, "{mode:?}: a container's mount on the host outlives it");
        if host_sees {
            world.unmount("vol/b");
        }
        world.unmount("vol/a");
    }
}

fn who_sees_whose_unmounts(world: &World) {
    for (mode, gone_inside, gone_on_host) in
        [(Private, false, false), (HostToContainer, true, false), (Bidirectional, true, true)]
    {
        world.mount("vol/a");
        let container = world.start_with(mode);
        assert!(container.has("/data/a"), "{mode:?}: what was there at the start");
        world.unmount("vol/a");
        assert_eq!(!container.has("/data/a"), gone_inside, "{mode:?}: the host's unmount, inside");
        drop(container);
        world.mount("vol/a");
        let container = world.start_with(mode);
        assert!(container.unmount("/data/a"), "{mode:?}: unmount inside");
        assert_eq!(!world.has("vol/a"), gone_on_host, "{mode:?}: the container's unmount, on the host");
        drop(container);
        if world.has("vol/a") {
            world.unmount("vol/a");
        }
    }
}

fn below_a_mount_that_was_there_before(world: &World) {
    world.mount("vol/a");
    for (mode, sees_host, host_sees) in
        [(Private, false, false), (HostToContainer, true, false), (Bidirectional, true, true)]
    {
        let container = world.start_with(mode);
        world.mount("vol/a/x");
        assert_eq!(container.has("/data/a/x"), sees_host, "{mode:?}");
        container.mount("/data/a/y");
        assert_eq!(world.has("vol/a/y"), host_sees, "{mode:?}");
        drop(container);
        world.unmount("vol/a/x");
        if host_sees {
            world.unmount("vol/a/y");
        }
    }
}

/// Starts the container six times and wants no mount more on the host than before, each time; and that the
/// volume still works both ways.
fn six_times_without_a_trace(world: &World, config: &ContainerConfig, at: &str, children: &[&str]) {
    let before = world.count();
    for turn in 1..=6 {
        let container = world.start(config);
        for child in children {
            assert!(container.has(child), "{child} is mounted inside");
            let propagation = container.propagation(child);
            let bidirectional = config
                .mounts
                .iter()
                .any(|mount| mount.container_path == Path::new(child) && mount.propagation == Bidirectional);
            assert_eq!(propagation.is_shared(), bidirectional, "{child}: {propagation:?}");
        }
        assert_eq!(world.count(), before, "start {turn}: mounts on the host");
        assert!(container.propagation(at).is_shared(), "{at} is shared with the host");
        world.mount("vol/b");
        assert!(container.has(&format!("{at}/b")), "the host's mount arrives");
        world.unmount("vol/b");
        assert!(!container.has(&format!("{at}/b")), "the host's unmount arrives");
        drop(container);
        assert_eq!(world.count(), before, "end {turn}: mounts on the host");
    }
}

fn a_volume_below_a_bidirectional_one_stays_inside(world: &World) {
    let volumes = vec![
        world.volume("vol", "/data", Bidirectional),
        world.volume("other", "/data/a", Private),
        world.volume("other", "/data/a/deeper", HostToContainer),
    ];
    six_times_without_a_trace(world, &config(volumes), "/data", &["/data/a", "/data/a/deeper"]);
}

fn a_file_below_a_bidirectional_volume_stays_inside(world: &World) {
    let volumes =
        vec![world.volume("vol", "/data", Bidirectional), world.volume("file", "/data/hosts", Private)];
    six_times_without_a_trace(world, &config(volumes), "/data", &["/data/hosts"]);
}

fn a_volume_below_a_mount_in_a_bidirectional_one(world: &World) {
    world.mount("vol/a");
    let volumes =
        vec![world.volume("vol", "/data", Bidirectional), world.volume("other", "/data/a/x/y", Private)];
    six_times_without_a_trace(world, &config(volumes), "/data", &["/data/a/x/y"]);
    let volumes =
        vec![world.volume("vol", "/data", Bidirectional), world.volume("other", "/data/a/x/y", Private)];
    let container = world.start(&config(volumes));
    assert!(container.propagation("/data/a").is_shared(), "the nested mount joined again");
    container.mount("/data/a/z");
    assert!(world.has("vol/a/z"), "and forwards");
}

fn bidirectional_below_bidirectional(world: &World) {
    let volumes = vec![
        world.volume("vol", "/data", Bidirectional),
        world.volume("other", "/data/o", Bidirectional),
        world.volume("file", "/data/o/f", Private),
    ];
    six_times_without_a_trace(world, &config(volumes.clone()), "/data", &["/data/o", "/data/o/f"]);
    let container = world.start(&config(volumes));
    container.mount("/data/o/new");
    assert!(world.has("other/new"));
    assert!(!world.has("vol/o"));
    assert!(!world.has("vol/o/new"));
}

fn own_mounts_below_bidirectional_dev(world: &World) {
    let mut volumes = vec![world.volume("vol", "/dev", Bidirectional)];
    volumes.push(world.volume("other", "/dev/shm", Private));
    let mut config = config(volumes);
    config.security_context.privileged = true;
    six_times_without_a_trace(world, &config, "/dev", &["/dev/shm"]);
}

fn an_image_link_into_a_bidirectional_volume(world: &World) {
    let volumes = vec![
        world.volume("vol", "/run", Bidirectional),
        world.volume("other", "/var/run/secrets/kubernetes.io/serviceaccount", Private),
    ];
    let child = "/run/secrets/kubernetes.io/serviceaccount";
    six_times_without_a_trace(world, &config(volumes), "/run", &[child]);
}

fn a_read_only_bidirectional_volume(world: &World) {
    std::fs::create_dir_all(world.path("vol/here")).expect("mkdir");
    let mut volume = world.volume("vol", "/data", Bidirectional);
    volume.readonly = true;
    let volumes = vec![volume, world.volume("other", "/data/here", Private)];
    six_times_without_a_trace(world, &config(volumes.clone()), "/data", &["/data/here"]);
    let container = world.start(&config(volumes));
    assert!(!container.inside(|| std::fs::write("/data/x", "x").is_ok()), "read-only inside");
    assert!(container.inside(|| std::fs::write("/data/here/x", "x").is_ok()), "the other volume is not");
}

fn a_sub_directory_of_the_same_source(world: &World) {
    let volumes =
        vec![world.volume("vol", "/data", Bidirectional), world.volume("vol/a", "/data/z", Bidirectional)];
    six_times_without_a_trace(world, &config(volumes), "/data", &["/data/z"]);
}

fn read_only_and_recursively_read_only(world: &World) {
    world.mount("vol/a");
    for (recursive, nested_writable) in [(false, true), (true, false)] {
        let mut volume = world.volume("vol", "/data", Private);
        volume.readonly = true;
        volume.recursive_read_only = recursive;
        let container = world.start(&config(vec![volume]));
        assert!(!container.inside(|| std::fs::write("/data/x", "x").is_ok()));
        assert_eq!(container.inside(|| std::fs::write("/data/a/x", "x").is_ok()), nested_writable);
    }
    assert!(std::fs::write(world.path("vol/x"), "x").is_ok(), "the host's own mount is untouched");
}

/// The window: after the sources are cloned and before the clones are attached, they receive nothing.
fn a_mount_of_the_host_in_the_window_is_noticed(world: &World) {
    for mode in [HostToContainer, Bidirectional] {
        let config = config(vec![world.volume("vol", "/data", mode)]);
        let prepared = world.plan(&config).expect("prepare");
        let container = Container::start_with(|| {
            let ops = &prepared.plan().ops;
            let window = ops.iter().position(|op| *op == Op::UnshareMounts).expect("unshare");
            let mut handles = Handles::default();
            handles.execute(&ops[..window]).expect("execute");
            world.mount("vol/a");
            handles.execute(&ops[window..]).is_ok()
        });
        // The child mounted before it left the host's namespace, so the mount is the host's.
        assert!(world.has("vol/a"));
        assert!(!container.has("/data/a"), "{mode:?}: missed");
        let verdict = prepared.verify(container.child.pid).expect("verify");
        assert_eq!(verdict, Verdict::Redo { source: world.path("vol") }, "{mode:?}");
        drop(container);
        let container = world.start(&config);
        assert!(container.has("/data/a"), "{mode:?}: there after the redo");
        drop(container);
        world.unmount("vol/a");
    }
}

/// What arrives once the clone is attached is no reason to start again.
fn a_mount_of_the_host_after_the_window_arrives(world: &World) {
    for mode in [HostToContainer, Bidirectional] {
        let prepared = world.plan(&config(vec![world.volume("vol", "/data", mode)])).expect("prepare");
        let container = Container::start(&prepared);
        world.mount("vol/a");
        assert!(container.has("/data/a"), "{mode:?}");
        assert_eq!(prepared.verify(container.child.pid).expect("verify"), Verdict::AsPlanned, "{mode:?}");
        drop(container);
        world.unmount("vol/a");
    }
}

fn a_mount_elsewhere_is_nobodys_business(world: &World) {
    let config = config(vec![world.volume("vol", "/data", Bidirectional)]);
    let prepared = world.plan(&config).expect("prepare");
    let container = Container::start(&prepared);
    world.mount("other/x");
    assert_eq!(prepared.verify(container.child.pid).expect("verify"), Verdict::AsPlanned);
}

fn sources_that_are_not_shared(world: &World) {
    world.mount("private");
    rustix::mount::mount_change(world.path("private"), MountPropagationFlags::PRIVATE).expect("private");
    std::fs::create_dir(world.path("private/dir")).expect("mkdir");
    let before = world.count();
    let refused = |propagation| {
        let volume = world.volume("private/dir", "/data", propagation);
        let error = world.plan(&config(vec![volume])).expect_err("refused");
        assert!(error.hint().is_some_and(|hint| hint.contains("rhizome.dev/make-shared")));
        error.to_string()
    };
    let (path, on) = ("/tmp/private/dir", "/tmp/private");
    assert_eq!(
        refused(Bidirectional),
        format!("path {path:?} is mounted on {on:?} but it is not a shared mount")
    );
    assert_eq!(
        refused(HostToContainer),
        format!("path {path:?} is mounted on {on:?} but it is not a shared or slave mount")
    );
    assert_eq!(world.count(), before);
    runtime::mounts::share_directory(&world.path("private/dir"), true).expect("share");
    let container = world.start(&config(vec![world.volume("private/dir", "/data", Bidirectional)]));
    container.mount("/data/x");
    assert!(world.has("private/dir/x"));
}

fn a_volume_over_the_root(world: &World) {
    for path in ["/", "//.", "/data/.."] {
        let error = world.plan(&config(vec![world.volume("vol", path, Private)])).expect_err("refused");
        assert_eq!(error.to_string(), format!("cannot mount at {path}: that is the root of the container"));
    }
}

fn a_source_that_is_unbindable(world: &World) {
    world.mount("fixed");
    rustix::mount::mount_change(world.path("fixed"), MountPropagationFlags::UNBINDABLE).expect("unbindable");
    let config = config(vec![world.volume("fixed", "/data", Private)]);
    let error = world.plan(&config).expect_err("refused");
    let path = "/tmp/fixed";
    assert_eq!(error.to_string(), format!("path {path:?} is mounted on {path:?}, which is unbindable"));
    let mend = error.hint().expect("a hint");
    let mend = mend.split_once(": ").expect("a command").1;
    let mended = std::process::Command::new("sh").args(["-c", mend]).status().expect("sh");
    assert!(mended.success(), "{mend}");
    world.start(&config);
}

fn a_source_that_is_a_slave(world: &World) {
    // A node that is itself a container: its volume is a slave of the real host's.
    rustix::mount::mount_bind(world.path("vol"), world.path("deep")).expect("bind");
    rustix::mount::mount_change(world.path("deep"), MountPropagationFlags::DOWNSTREAM).expect("slave");
    let container = world.start(&config(vec![world.volume("deep", "/data", HostToContainer)]));
    world.mount("vol/a");
    assert!(container.has("/data/a"), "a fellow slave of the same master");
    assert!(world.plan(&config(vec![world.volume("deep", "/data", Bidirectional)])).is_err());
    drop(container);
    rustix::mount::mount_change(world.path("deep"), MountPropagationFlags::SHARED).expect("shared");
    let volumes =
        vec![world.volume("deep", "/data", Bidirectional), world.volume("other", "/data/o", Private)];
    let container = world.start(&config(volumes));
    let propagation = container.propagation("/data");
    assert!(propagation.is_shared() && propagation.is_slave(), "{propagation:?}");
    container.mount("/data/new");
    assert!(world.has("deep/new") && !world.has("vol/new") && !world.has("deep/o"));
}

fn several_layers_and_a_long_path(world: &World) {
    let long = format!("{}/{}", "l".repeat(120), "m".repeat(140));
    for (layer, file) in [("layer-1", "one"), (long.as_str(), "two"), ("layer-3", "three")] {
        std::fs::create_dir_all(world.path(layer)).expect("mkdir");
        std::fs::write(world.path(layer).join(file), file).expect("write");
        std::fs::write(world.path(layer).join("same"), file).expect("write");
    }
    for layers in [vec!["layer-1", "layer-3"], vec!["layer-1", long.as_str()]] {
        let layers: Vec<PathBuf> = layers.into_iter().map(|layer| world.path(layer)).collect();
        let config = config(Vec::new());
        let prepared = prepare(&MountRequest {
            layers: &layers,
            writable: &world.path("c"),
            staging: &world.path("staging"),
            config: &config,
            shm: None,
            cgroup: &CgroupView::None,
            users: None,
            file_label: None,
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        let container = Container::start(&prepared);
        let top = std::fs::read(layers[1].join("same")).expect("read");
        assert!(
            container.inside(|| std::fs::read("/same").is_ok_and(|bytes| bytes == top)),
            "the last layer wins"
        );
        assert!(container.inside(|| std::fs::read("/one").is_ok()));
    }
}

fn masked_and_read_only_paths(world: &World) {
    let mut config = config(vec![world.volume("vol", "/data", Private)]);
    std::fs::write(world.path("vol/secret"), "secret").expect("write");
    config.security_context = LinuxContainerSecurityContext {
        masked_paths: [
            "/proc/cpuinfo",
            "/proc/acpi",
            "/sys/firmware",
            "/data/secret",
            "/data/a",
            "/not/there",
        ]
        .map(str::to_owned)
        .to_vec(),
        readonly_paths: ["/proc/sys", "/data/b"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let container = world.start(&config);
    assert!(container.inside(|| std::fs::read("/data/secret").is_ok_and(|bytes| bytes.is_empty())));
    assert!(container.inside(|| std::fs::read("/proc/cpuinfo").is_ok_and(|bytes| bytes.is_empty())));
    assert!(!container.inside(|| std::fs::write("/data/a/x", "x").is_ok()));
    assert!(!container.inside(|| std::fs::write("/data/b/x", "x").is_ok()));
    assert!(container.inside(|| std::fs::write("/data/x", "x").is_ok()));
    assert!(!container.inside(|| std::fs::write("/proc/sys/kernel/hostname", "x").is_ok()));
    assert!(!container.has("/not/there"));
}

/// A volume instead of the container's /proc: what it has not cannot be masked.
fn a_volume_at_proc_masks_only_what_it_has(world: &World) {
    let mut config = config(vec![world.volume("vol", "/proc", Private)]);
    std::fs::write(world.path("vol/keys"), "secret").expect("write");
    config.security_context.masked_paths = ["/proc/keys", "/proc/timer_list"].map(str::to_owned).to_vec();
    config.security_context.readonly_paths = ["/proc/sys", "/proc/a"].map(str::to_owned).to_vec();
    let prepared = world.plan(&config).expect("prepare");
    let placed: Vec<&str> = prepared.plan().sections.iter().map(|section| section.title.as_str()).collect();
    assert!(
        placed.contains(&"/dev/null at /proc/keys") && placed.contains(&"/proc/a read-only"),
        "{placed:?}"
    );
    let container = Container::start(&prepared);
    assert!(container.has("/proc/keys") && !container.has("/proc/sys") && !container.has("/proc/timer_list"));
}

fn paths_with_blanks_and_newlines(world: &World) {
    let name = "vol/with blank\nand \\ line";
    std::fs::create_dir_all(world.path(name)).expect("mkdir");
    let volumes = vec![
        world.volume(name, "/data dir/x\ty", Bidirectional),
        world.volume("other", "/data dir/x\ty/in side", Private),
    ];
    let before = world.count();
    let container = world.start(&config(volumes));
    assert!(container.has("/data dir/x\ty/in side"));
    container.mount("/data dir/x\ty/m");
    assert!(world.has(&format!("{name}/m")));
    assert_eq!(world.count(), before + 1);
}

fn detach_tree_takes_all_and_only_that(world: &World) {
    world.mount("vol/a");
    world.mount("vol/a/x");
    world.mount("vol/a");
    world.mount("other/keep");
    // A recursive bind: a lazy unmount of it as a whole would take its submounts out of the original.
    rustix::mount::mount_bind_recursive(world.path("other"), world.path("vol/b")).expect("rbind");
    let detached = runtime::mounts::detach_tree(&world.path("vol")).expect("detach");
    assert_eq!(detached.mount_points.len(), 5, "{detached:?}");
    assert!(!world.has("vol/a") && !world.has("vol/b"));
    assert!(world.has("other/keep"), "the original keeps what is its own");
}
