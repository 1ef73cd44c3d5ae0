//! Volumes against the kernel: what is made, what is shared, and that nothing stays or goes that should not.
//!
//! Every case runs in a process of its own, in a mount namespace of its own, on a tmpfs of its own.

use agent::Root;
use agent::record::{NewPod, PodRecord, PodUid, create};
use agent::removal::{RemovalError, remove_tree};
use agent::volumes::{PodVolumes, Volumes};
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use manifest::claims::ClaimPlace;
use mount_table::{Mount, MountTable};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use sys::namespace::Namespaces;
use sys::process::{Child, exit, spawn};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let before = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let ok = run_apart(*case);
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    let after = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert_eq!(before, after, "the machine's own mounts changed");
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

type Case = (&'static str, fn(&World));

const CASES: &[Case] = &[
    ("every_kind_is_made_and_taken_away", every_kind_is_made_and_taken_away),
    ("a_claim_is_its_volume_or_a_folder_that_stays", a_claim_is_its_volume_or_a_folder_that_stays),
    ("a_claims_folder_is_shared_where_asked", a_claims_folder_is_shared_where_asked),
    ("huge_pages_are_mounted_or_refused", huge_pages_are_mounted_or_refused),
    ("volumes_are_shared_only_where_asked", volumes_are_shared_only_where_asked),
    ("a_shared_root_folder_stays_as_it_is", a_shared_root_folder_stays_as_it_is),
    ("what_is_mounted_in_an_empty_dir_is_not_deleted", what_is_mounted_in_an_empty_dir_is_not_deleted),
    ("a_peer_in_an_empty_dir_loses_nothing", a_peer_in_an_empty_dir_loses_nothing),
    ("removal_ends_at_a_mount", removal_ends_at_a_mount),
    ("a_sub_path_is_bound_once_and_not_recursively", a_sub_path_is_bound_once_and_not_recursively),
    ("a_sub_path_of_a_file", a_sub_path_of_a_file),
    ("a_sub_path_that_escapes", a_sub_path_that_escapes),
    (
        "cve_2017_1002101_cve_2021_25741_a_sub_path_exchanged_for_a_link",
        cve_2017_1002101_cve_2021_25741_a_sub_path_exchanged_for_a_link,
    ),
    ("taking_a_sub_path_away_leaves_the_volume_whole", taking_a_sub_path_away_leaves_the_volume_whole),
    ("a_host_path_is_shared_on_request_and_undone", a_host_path_is_shared_on_request_and_undone),
    ("a_shared_host_path_serves_two_pods", a_shared_host_path_serves_two_pods),
    ("a_shared_host_path_in_use_stays", a_shared_host_path_in_use_stays),
    ("left_mounts_are_named", left_mounts_are_named),
    ("left_mounts_are_detached_on_request", left_mounts_are_detached_on_request),
    ("what_left_mounts_brought_elsewhere_goes_with_them", what_left_mounts_brought_elsewhere_goes_with_them),
    ("a_dead_fuse_mount_is_an_error_with_a_mend", a_dead_fuse_mount_is_an_error_with_a_mend),
    ("a_fuse_mount_that_hangs_is_an_error_in_time", a_fuse_mount_that_hangs_is_an_error_in_time),
    (
        "fuse_mounts_in_an_empty_dir_do_not_hold_up_its_removal",
        fuse_mounts_in_an_empty_dir_do_not_hold_up_its_removal,
    ),
    (
        "a_fuse_mount_that_hangs_below_a_host_path_holds_nothing_up",
        a_fuse_mount_that_hangs_below_a_host_path_holds_nothing_up,
    ),
];

/// Runs a case in a child, in a mount namespace of its own; true if it did not panic.
fn run_apart(case: fn(&World)) -> bool {
    let child = spawn(Namespaces::MOUNT, None, || {
        case(&World::new());
        exit(0)
    });
    wait(&child.expect("spawn")) == 0
}

/// The exit status of a case; one that hangs is killed after a minute, and has failed.
fn wait(child: &Child) -> i32 {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&child.pidfd, PollFlags::IN)], Some(&minute)).expect("poll");
    if ended == 0 {
        eprintln!("it hangs");
        rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL).expect("kill");
    }
    let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
    status.expect("waitpid").and_then(|(_, status)| status.exit_status()).unwrap_or(-1)
}

fn mount_tmpfs(at: &Path) {
    let none: Option<&std::ffi::CStr> = None;
    std::fs::create_dir_all(at).expect("mkdir");
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), none).expect("tmpfs");
}

fn unmount(at: &Path) {
    rustix::mount::unmount(at, UnmountFlags::empty()).expect("umount");
}

fn change(at: &Path, to: MountPropagationFlags) {
    rustix::mount::mount_change(at, to).expect("propagation");
}

/// A host: a private tmpfs with a root folder and a directory for hostPaths.
struct World {
    root: Root,
    host: PathBuf,
}

/// A pod of it.
struct Pod {
    uid: PodUid,
    record: PodRecord,
}

impl World {
    fn new() -> World {
        change(Path::new("/"), MountPropagationFlags::PRIVATE | MountPropagationFlags::REC);
        let base = PathBuf::from("/tmp");
        mount_tmpfs(&base);
        std::fs::create_dir(base.join("host")).expect("mkdir");
        World { root: Root::at(&base.join("root")).open().expect("root"), host: base.join("host") }
    }

    fn mounts(&self) -> Vec<Mount> {
        let bytes = std::fs::read("/proc/self/mountinfo").expect("mountinfo");
        MountTable::parse_mountinfo(&bytes).expect("mountinfo").mounts
    }

    /// Mount points below the tmpfs.
    fn places(&self) -> Vec<PathBuf> {
        let below = |m: &Mount| m.mount_point.starts_with("/tmp") && m.mount_point != Path::new("/tmp");
        self.mounts().into_iter().filter(below).map(|m| m.mount_point).collect()
    }

    fn topmost(&self, at: &Path) -> Mount {
        self.mounts().into_iter().rfind(|m| m.mount_point == at).expect("no mount there")
    }

    /// A pod with these volumes and one container with these volume mounts.
    fn pod(&self, name: &str, volumes: serde_json::Value, mounts: serde_json::Value) -> Pod {
        let from = |value| serde_json::from_value(value).expect("object");
        let new = NewPod {
            pod: serde_json::from_value(json!({
                "metadata": {"name": name, "annotations": {}},
                "spec": {"volumes": volumes, "containers": [{"name": "main", "volumeMounts": mounts}]},
            }))
            .expect("pod"),
            config_maps: [("cm".to_owned(), from(json!({"data": {"key": "value"}})))].into(),
            secrets: [(
                "s".to_owned(),
                serde_json::from_value(json!({"data": {"password": "aHVudGVyMg=="}})).expect("secret"),
            )]
            .into(),
            claims: [("bound".to_owned(), from_claim(&self.host))].into(),
            job: None,
            network: None,
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        let (uid, record) = create(&self.root, vec![new], now).expect("create").remove(0);
        std::fs::create_dir_all(self.root.pod_run(&uid)).expect("mkdir");
        Pod { uid, record }
    }

    fn host_path_pod(&self, name: &str, annotation: (&str, &str)) -> Pod {
        let volumes = json!([{"name": "v", "hostPath": {"path": self.host, "type": "Directory"}}]);
        let mut pod = self.pod(name, volumes, bidirectional());
        let annotations = pod.record.pod.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation.0.into(), annotation.1.into());
        pod
    }

    fn volumes<'a>(&'a self, pod: &'a Pod) -> PodVolumes<'a> {
        PodVolumes { root: &self.root, uid: &pod.uid, record: &pod.record }
    }

    fn set_up(&self, pod: &Pod) -> Volumes {
        self.volumes(pod).set_up(jiff::Timestamp::UNIX_EPOCH).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// A claim on a PersistentVolume that is this directory.
fn from_claim(host: &Path) -> ClaimPlace {
    ClaimPlace::HostPath(HostPathVolumeSource {
        path: host.to_str().expect("utf-8").to_owned(),
        type_: Some("Directory".to_owned()),
    })
}

fn bidirectional() -> serde_json::Value {
    json!([{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}])
}

fn path(volumes: &Volumes, name: &str) -> PathBuf {
    volumes.resolved[name].host_path.clone()
}

fn every_kind_is_made_and_taken_away(world: &World) {
    let volumes = json!([
        {"name": "disk", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "map", "configMap": {"name": "cm"}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "host", "hostPath": {"path": world.host.join("made")}},
    ]);
    let pod = world.pod("p", volumes, json!([]));
    for _ in 0..2 {
        let made = world.set_up(&pod);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path(&made, "disk")), 0o777);
        assert!(!made.warnings.iter().any(|w| w.contains("emptyDir")), "{:?}", made.warnings);
        assert_eq!(mode(&path(&made, "memory")), 0o777);
        assert_eq!(std::fs::read_to_string(path(&made, "map").join("key")).unwrap(), "value");
        assert_eq!(std::fs::read_to_string(path(&made, "secret").join("password")).unwrap(), "hunter2");
        assert_eq!(mode(&path(&made, "secret").join("password")), 0o400);
        assert!(made.resolved["secret"].read_only && made.resolved["map"].read_only);
        let memory = world.topmost(&path(&made, "memory"));
        assert_eq!(memory.fs_type, "tmpfs");
        assert!(memory.super_options.contains("size=1024k"), "{}", memory.super_options);
        assert!(!memory.propagation.is_shared());
        assert_eq!(world.topmost(&path(&made, "secret")).fs_type, "tmpfs");
        std::fs::write(path(&made, "disk").join("kept"), "").unwrap();
        assert_eq!(world.places().len(), 2, "{:?}", world.places());
    }
    assert!(path(&world.set_up(&pod), "disk").join("kept").exists());
    world.volumes(&pod).tear_down().unwrap();
    assert_eq!(world.places(), [] as [PathBuf; 0]);
    assert!(!world.root.pod_lib(&pod.uid).join("volumes").exists());
    assert!(world.host.join("made").is_dir(), "a hostPath is never removed");
}

fn a_claim_is_its_volume_or_a_folder_that_stays(world: &World) {
    let volumes = json!([
        {"name": "bound", "persistentVolumeClaim": {"claimName": "bound", "readOnly": true}},
        {"name": "folder", "persistentVolumeClaim": {"claimName": "data"}},
    ]);
    for life in 0..2 {
        let pod = world.pod("p", volumes.clone(), json!([]));
        let made = world.set_up(&pod);
        assert_eq!(path(&made, "bound"), world.host);
        assert!(made.resolved["bound"].read_only && !made.resolved["folder"].read_only);
        let folder = path(&made, "folder");
        assert_eq!(folder, world.root.lib.join("claims/default/data"));
        assert_eq!(
            folder.metadata().unwrap().permissions().mode() & 0o7777,
            if life == 0 { 0o777 } else { 0o750 }
        );
        let file = folder.join("file");
        assert_eq!(file.exists(), life > 0);
        std::fs::write(&file, "kept").unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o750)).unwrap();
        world.volumes(&pod).tear_down().unwrap();
        agent::record::forget(&world.root, &pod.uid, &pod.record.key()).unwrap();
    }
    let pod = world.pod("q", json!([{"name": "v", "persistentVolumeClaim": {"claimName": ".."}}]), json!([]));
    let error = world.volumes(&pod).set_up(jiff::Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(format!("{error}").contains("cannot be the name of a claim"), "{error}");
}

fn huge_pages_are_mounted_or_refused(world: &World) {
    let pages = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB");
    let volumes = json!([{"name": "v", "emptyDir": {"medium": "HugePages-2Mi"}}]);
    let pod = world.pod("p", volumes, json!([]));
    match world.volumes(&pod).set_up(jiff::Timestamp::UNIX_EPOCH) {
        Ok(made) => assert_eq!(world.topmost(&path(&made, "v")).fs_type, "hugetlbfs"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("huge pages of 2048 KiB"), "{text}");
            let set_aside = std::fs::read_to_string(pages.join("nr_hugepages")).unwrap_or_default();
            assert!(["", "0"].contains(&set_aside.trim()), "{text}, but {set_aside}");
        }
    }
    world.volumes(&pod).tear_down().unwrap();
    if pages.exists() {
        // None need be set aside for the mount itself.
        let at = world.host.join("pages");
        std::fs::create_dir(&at).unwrap();
        runtime::mounts::mount_huge_pages(&at, 2 << 20, true).unwrap();
        let mount = world.topmost(&at);
        assert!(mount.fs_type == "hugetlbfs" && mount.propagation.is_shared(), "{mount:?}");
        assert!(mount.super_options.contains("pagesize=2M"), "{mount:?}");
        assert_eq!(at.metadata().unwrap().permissions().mode() & 0o777, 0o777);
        unmount(&at);
    }
    assert_eq!(world.places(), [""; 0].map(PathBuf::from));
}

fn a_claims_folder_is_shared_where_asked(world: &World) {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    let pods = ["p", "q"].map(|name| world.pod(name, volumes.clone(), bidirectional()));
    let folder = path(&world.set_up(&pods[0]), "v");
    assert_eq!(path(&world.set_up(&pods[1]), "v"), folder);
    assert!(world.topmost(&folder).propagation.is_shared());
    assert_eq!(world.places().iter().filter(|place| **place == folder).count(), 1);
    world.volumes(&pods[0]).tear_down().unwrap();
    assert!(world.topmost(&folder).propagation.is_shared(), "the other pod needs it");
    world.volumes(&pods[1]).tear_down().unwrap();
    assert_eq!(world.places(), [""; 0].map(PathBuf::from));
    assert!(folder.is_dir());
}

fn volumes_are_shared_only_where_asked(world: &World) {
    let volumes = json!([{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]);
    let asked = json!([{"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"}]);
    let pod = world.pod("p", volumes.clone(), asked);
    let made = world.set_up(&pod);
    world.set_up(&pod);
    let folder = world.root.pod_lib(&pod.uid).join("volumes");
    assert_eq!(world.places(), [folder.clone(), path(&made, "m")]);
    assert!(world.topmost(&folder).propagation.is_shared());
    let unasked =
        world.pod("q", volumes, json!([{"name": "v", "mountPath": "/v", "mountPropagation": "None"}]));
    world.set_up(&unasked);
    assert!(world.topmost(Path::new("/tmp")).propagation.is_private());
    assert_eq!(world.places().len(), 3, "one tmpfs more, and no bind");
    for pod in [&pod, &unasked] {
        world.volumes(pod).tear_down().unwrap();
    }
    assert_eq!(world.places(), [] as [PathBuf; 0]);
}

/// With a shared `/` as systemd makes it, the bind must not join its group: then every mount would be there twice.
fn a_shared_root_folder_stays_as_it_is(world: &World) {
    change(Path::new("/tmp"), MountPropagationFlags::SHARED);
    let group = world.topmost(Path::new("/tmp")).propagation.shared;
    let pod = world.pod("p", json!([{"name": "v", "emptyDir": {}}]), bidirectional());
    let made = world.set_up(&pod);
    let folder = world.root.pod_lib(&pod.uid).join("volumes");
    assert!(world.topmost(&folder).propagation.is_shared());
    assert_ne!(world.topmost(&folder).propagation.shared, group);
    mount_tmpfs(&path(&made, "v").join("x"));
    assert_eq!(world.places().len(), 2, "{:?}", world.places());
    world.volumes(&pod).tear_down().unwrap();
    assert_eq!(world.places(), [] as [PathBuf; 0]);
    assert_eq!(world.topmost(Path::new("/tmp")).propagation.shared, group);
}

fn what_is_mounted_in_an_empty_dir_is_not_deleted(world: &World) {
    let pod = world.pod("p", json!([{"name": "v", "emptyDir": {}}]), bidirectional());
    let made = world.set_up(&pod);
    let remote = world.host.join("remote");
    mount_tmpfs(&remote);
    std::fs::write(remote.join("data"), "precious").unwrap();
    // Two deep, stacked twice, as a restarting container leaves it.
    for at in ["x", "x", "x/y"] {
        let at = path(&made, "v").join(at);
        std::fs::create_dir_all(&at).unwrap();
        rustix::mount::mount_bind(&remote, &at).unwrap();
        std::fs::create_dir_all(remote.join("y")).unwrap();
    }
    let down = world.volumes(&pod).tear_down().unwrap();
    assert_eq!(down.detached.len(), 4, "{:?}", down.detached);
    assert_eq!(world.places(), std::slice::from_ref(&remote));
    assert_eq!(std::fs::read_to_string(remote.join("data")).unwrap(), "precious");
}

/// A container binds a shared directory of the host into its emptyDir: taking that away must not unmount on the host.
fn a_peer_in_an_empty_dir_loses_nothing(world: &World) {
    let pod = world.pod("p", json!([{"name": "v", "emptyDir": {}}]), bidirectional());
    let made = world.set_up(&pod);
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    mount_tmpfs(&world.host.join("sub"));
    let at = path(&made, "v").join("x");
    std::fs::create_dir(&at).unwrap();
    rustix::mount::mount_bind_recursive(&world.host, &at).unwrap();
    mount_tmpfs(&world.host.join("later"));
    assert!(world.places().contains(&at.join("later")));
    world.volumes(&pod).tear_down().unwrap();
    assert_eq!(world.places(), [world.host.clone(), world.host.join("sub"), world.host.join("later")]);
}

fn removal_ends_at_a_mount(world: &World) {
    let tree = world.host.join("tree");
    let inside = tree.join("a/b");
    mount_tmpfs(&inside);
    std::fs::write(inside.join("data"), "precious").unwrap();
    let error = remove_tree(&tree).unwrap_err();
    assert!(matches!(&error, RemovalError::Mounted { path } if *path == inside), "{error}");
    assert_eq!(std::fs::read_to_string(inside.join("data")).unwrap(), "precious");
    unmount(&inside);
    // A bind of the same file system has the same device number: only the mount tells.
    let kept = world.host.join("kept");
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(kept.join("data"), "precious").unwrap();
    rustix::mount::mount_bind(&kept, &inside).unwrap();
    assert!(matches!(remove_tree(&tree), Err(RemovalError::Mounted { .. })));
    assert!(kept.join("data").exists());
    // And a file that is a mount point.
    unmount(&inside);
    std::fs::write(inside.join("file"), "").unwrap();
    rustix::mount::mount_bind(kept.join("data"), inside.join("file")).unwrap();
    assert!(matches!(remove_tree(&tree), Err(RemovalError::Mounted { .. })));
    unmount(&inside.join("file"));
    remove_tree(&tree).unwrap();
    assert!(kept.join("data").exists());
}

fn a_sub_path_is_bound_once_and_not_recursively(world: &World) {
    let pod = world.host_path_pod("p", ("a", "b"));
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    mount_tmpfs(&world.host.join("sub/earlier"));
    std::fs::write(world.host.join("sub/earlier/hidden"), "").unwrap();
    let made = world.set_up(&pod);
    let sub = |name: &str| world.volumes(&pod).sub_path(("v", &path(&made, "v")), "main", 0, name);
    let at = sub("sub").unwrap();
    assert_eq!(at, world.root.pod_lib(&pod.uid).join("volume-subpaths/v/main/0"));
    let first = world.topmost(&at).id;
    assert!(!at.join("earlier/hidden").exists());
    assert_eq!(sub("sub").unwrap(), at);
    assert_eq!(world.topmost(&at).id, first, "the same is not bound again");
    mount_tmpfs(&world.host.join("sub/later"));
    assert!(world.places().contains(&at.join("later")), "what comes later arrives");
    // Another directory in its place, as after a restart of the pod with what it had replaced.
    unmount(&world.host.join("sub/later"));
    unmount(&world.host.join("sub/earlier"));
    std::fs::rename(world.host.join("sub"), world.host.join("moved")).unwrap();
    std::fs::create_dir(world.host.join("sub")).unwrap();
    std::fs::write(world.host.join("sub/new"), "").unwrap();
    assert!(sub("sub").unwrap().join("new").exists());
    assert_eq!(world.places().iter().filter(|p| **p == at).count(), 1);
    world.volumes(&pod).tear_down().unwrap();
    assert_eq!(world.places(), std::slice::from_ref(&world.host));
}

fn a_sub_path_of_a_file(world: &World) {
    let pod = world.host_path_pod("p", ("a", "b"));
    std::fs::write(world.host.join("f"), "text").unwrap();
    let made = world.set_up(&pod);
    let sub = |name: &str| world.volumes(&pod).sub_path(("v", &path(&made, "v")), "main", 0, name).unwrap();
    assert_eq!(std::fs::read_to_string(sub("f")).unwrap(), "text");
    assert!(sub("made").is_dir(), "a directory takes the place of the file");
    assert_eq!(std::fs::read_to_string(sub("f")).unwrap(), "text");
    world.volumes(&pod).tear_down().unwrap();
    assert_eq!(world.places(), [] as [PathBuf; 0]);
    assert_eq!(std::fs::read_to_string(world.host.join("f")).unwrap(), "text");
}

fn a_sub_path_that_escapes(world: &World) {
    let pod = world.host_path_pod("p", ("a", "b"));
    std::os::unix::fs::symlink("/etc", world.host.join("link")).unwrap();
    let made = world.set_up(&pod);
    let error = world.volumes(&pod).sub_path(("v", &path(&made, "v")), "main", 0, "link").unwrap_err();
    assert!(error.to_string().contains("leads out of its volume"), "{error}");
    assert_eq!(world.places(), [] as [PathBuf; 0]);
}

/// A container exchanges the directory of a subPath, or one above it, for a link out of the volume while it is bound.
fn cve_2017_1002101_cve_2021_25741_a_sub_path_exchanged_for_a_link(world: &World) {
    let (victim, missing) = (Path::new("/tmp/victim"), Path::new("/tmp/victim/sub/missing"));
    std::fs::create_dir_all(victim.join("sub")).unwrap();
    std::fs::write(victim.join("sub/secret"), "").unwrap();
    std::fs::create_dir_all(world.host.join("above/sub")).unwrap();
    let (mut bound, mut refused) = (0, 0);
    for lead in ["/tmp/victim", "../victim", "/proc/self/root/tmp/victim", "../../../../../tmp/victim"] {
        let [place, link] = ["above", "link"].map(|name| world.host.join(name));
        std::os::unix::fs::symlink(lead, &link).unwrap();
        let rival = spawn(Namespaces::empty(), None, || {
            let kill = Some(rustix::process::Signal::KILL);
            rustix::process::set_parent_process_death_signal(kill).expect("prctl");
            loop {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, &place, rustix::fs::CWD, &link, flags);
            }
        })
        .expect("spawn");
        for round in 0..25 {
            let pod = world.host_path_pod(&format!("p{}-{round}", lead.len()), ("a", "b"));
            let made = world.set_up(&pod);
            for (index, name) in ["above/sub", "above/sub/missing/too", "above"].into_iter().enumerate() {
                let result = world.volumes(&pod).sub_path(("v", &path(&made, "v")), "main", index, name);
                match result {
                    Ok(at) => {
                        bound += 1;
                        assert!(
                            !at.join("secret").exists() && !at.join("sub/secret").exists(),
                            "{name} is {lead}"
                        );
                    }
                    Err(_) => refused += 1,
                }
                assert!(!missing.exists(), "made outside of the volume");
            }
            world.volumes(&pod).tear_down().unwrap();
            assert_eq!(world.places(), [] as [PathBuf; 0]);
        }
        rustix::process::pidfd_send_signal(&rival.pidfd, rustix::process::Signal::KILL).unwrap();
        wait(&rival);
        let link = if link.is_symlink() { &link } else { &place };
        std::fs::remove_file(link).unwrap();
        if !place.exists() {
            std::fs::rename(world.host.join("link"), &place).unwrap();
        }
    }
    assert!(bound > 0 && refused > 0, "{bound} bound, {refused} refused: no race was run");
    assert!(victim.join("sub/secret").exists());
}

fn taking_a_sub_path_away_leaves_the_volume_whole(world: &World) {
    let pod = world.host_path_pod("p", ("a", "b"));
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    std::fs::create_dir(world.host.join("sub")).unwrap();
    let made = world.set_up(&pod);
    world.volumes(&pod).sub_path(("v", &path(&made, "v")), "main", 0, "sub").unwrap();
    let later = world.host.join("sub/later");
    mount_tmpfs(&later);
    mount_tmpfs(&later.join("deeper"));
    world.volumes(&pod).tear_down().unwrap();
    assert_eq!(world.places(), [world.host.clone(), later.clone(), later.join("deeper")]);
}

const SHARE: (&str, &str) = (manifest::annotations::MAKE_SHARED, "true");

fn a_host_path_is_shared_on_request_and_undone(world: &World) {
    let inside = world.host.join("inside");
    mount_tmpfs(&inside);
    let before = world.mounts();
    world.set_up(&world.host_path_pod("unasked", ("a", "b")));
    assert_eq!(world.mounts(), before);
    let pod = world.host_path_pod("p", SHARE);
    world.set_up(&pod);
    world.set_up(&pod);
    assert!(world.topmost(&world.host).propagation.is_shared());
    assert!(world.topmost(&inside).propagation.is_shared(), "what is mounted below comes along");
    assert!(world.topmost(Path::new("/tmp")).propagation.is_private());
    let down = world.volumes(&pod).tear_down().unwrap();
    assert_eq!(down.still_shared, []);
    assert_eq!(world.mounts(), before);
}

fn a_shared_host_path_serves_two_pods(world: &World) {
    let before = world.mounts();
    let (p, q) = (world.host_path_pod("p", SHARE), world.host_path_pod("q", SHARE));
    world.set_up(&p);
    world.set_up(&q);
    assert_eq!(world.places(), std::slice::from_ref(&world.host), "one bind for both");
    world.volumes(&p).tear_down().unwrap();
    assert!(world.topmost(&world.host).propagation.is_shared());
    world.volumes(&q).tear_down().unwrap();
    assert_eq!(world.mounts(), before);
}

fn a_shared_host_path_in_use_stays(world: &World) {
    let pod = world.host_path_pod("p", SHARE);
    world.set_up(&pod);
    let users = world.host.join("users");
    mount_tmpfs(&users);
    let down = world.volumes(&pod).tear_down().unwrap();
    assert_eq!(down.still_shared, [(world.host.clone(), users.clone())]);
    assert_eq!(down.left.len(), 1);
    assert!(world.places().contains(&users));
    unmount(&users);
    // The next pod that goes takes it with it.
    let next = world.host_path_pod("q", ("a", "b"));
    world.volumes(&next).tear_down().unwrap();
    assert_eq!(world.places(), [] as [PathBuf; 0]);
}

fn left_mounts_are_named(world: &World) {
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    mount_tmpfs(&world.host.join("before"));
    let pod = world.host_path_pod("p", ("a", "b"));
    world.set_up(&pod);
    assert_eq!(world.volumes(&pod).left_mounts().unwrap(), []);
    mount_tmpfs(&world.host.join("left"));
    world.set_up(&pod);
    let left = world.volumes(&pod).left_mounts().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].mount_point, world.host.join("left"));
    assert_eq!(world.volumes(&pod).tear_down().unwrap().left, left);
    assert!(world.places().contains(&world.host.join("left")));
}

fn left_mounts_are_detached_on_request(world: &World) {
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    mount_tmpfs(&world.host.join("before"));
    let before = world.mounts();
    let pod = world.host_path_pod("p", (manifest::annotations::MOUNTS_AT_END, "detach"));
    world.set_up(&pod);
    // Stacked, nested, and a bind of what was there before.
    mount_tmpfs(&world.host.join("left"));
    mount_tmpfs(&world.host.join("left"));
    mount_tmpfs(&world.host.join("left/deep"));
    std::fs::create_dir(world.host.join("bind")).unwrap();
    rustix::mount::mount_bind_recursive(world.host.join("before"), world.host.join("bind")).unwrap();
    assert_eq!(world.volumes(&pod).tear_down().unwrap().left, []);
    assert_eq!(world.mounts(), before);
}

/// Another pod's view of the volume, say.
fn what_left_mounts_brought_elsewhere_goes_with_them(world: &World) {
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    let other = Path::new("/tmp/other");
    std::fs::create_dir(other).unwrap();
    rustix::mount::mount_bind(&world.host, other).unwrap();
    change(other, MountPropagationFlags::DOWNSTREAM);
    let before = world.mounts();
    let pod = world.host_path_pod("p", (manifest::annotations::MOUNTS_AT_END, "detach"));
    world.set_up(&pod);
    mount_tmpfs(&world.host.join("left"));
    mount_tmpfs(&world.host.join("left/deep"));
    assert!(world.places().contains(&other.join("left/deep")));
    assert_eq!(world.volumes(&pod).tear_down().unwrap().left, []);
    assert_eq!(world.mounts(), before);
}

/// A FUSE mount whose server answers nothing; it is dead once the descriptor is closed.
fn mount_fuse(at: &Path) -> std::fs::File {
    use std::os::fd::AsRawFd;
    let server = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .expect("these tests need /dev/fuse");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let options = std::ffi::CString::new(options).expect("options");
    std::fs::create_dir_all(at).expect("mkdir");
    rustix::mount::mount("fuse", at, "fuse", MountFlags::empty(), Some(options.as_c_str())).expect("fuse");
    server
}

fn a_dead_fuse_mount_is_an_error_with_a_mend(world: &World) {
    drop(mount_fuse(&world.host));
    for kind in ["", "DirectoryOrCreate", "Directory", "File"] {
        let volumes = json!([{"name": "v", "hostPath": {"path": world.host, "type": kind}}]);
        let pod = world.pod(&format!("p{}", kind.to_lowercase()), volumes, json!([]));
        let error = world.volumes(&pod).set_up(jiff::Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().contains("stat /tmp/host: transport endpoint is not connected"), "{error}");
        assert!(error.hint().unwrap().contains("umount -l /tmp/host"), "{:?}", error.hint());
    }
}

fn a_fuse_mount_that_hangs_is_an_error_in_time(world: &World) {
    let server = mount_fuse(&world.host);
    let source = world.host.join("data");
    let pod = world.pod("p", json!([{"name": "v", "hostPath": {"path": source}}]), json!([]));
    let begun = std::time::Instant::now();
    let error = world.volumes(&pod).set_up(jiff::Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    let words = "stat /tmp/host/data: no answer within 5 s from the fuse mounted at /tmp/host";
    assert!(error.to_string().contains(words), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("/sys/fs/fuse/connections/") && hint.contains("umount -l /tmp/host"), "{hint}");
    let children = rustix::process::waitid(
        rustix::process::WaitId::All,
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG,
    );
    assert!(matches!(children, Err(rustix::io::Errno::CHILD)), "the child that asked is gone: {children:?}");
    drop(server);
}

fn fuse_mounts_in_an_empty_dir_do_not_hold_up_its_removal(world: &World) {
    let pod = world.pod("p", json!([{"name": "v", "emptyDir": {}}]), bidirectional());
    let made = world.set_up(&pod);
    drop(mount_fuse(&path(&made, "v").join("dead")));
    let hanging = mount_fuse(&path(&made, "v").join("hanging"));
    let down = world.volumes(&pod).tear_down().unwrap();
    assert_eq!(down.detached.len(), 3, "{:?}", down.detached);
    assert_eq!(world.places(), [] as [PathBuf; 0]);
    drop(hanging);
}

fn a_fuse_mount_that_hangs_below_a_host_path_holds_nothing_up(world: &World) {
    mount_tmpfs(&world.host);
    change(&world.host, MountPropagationFlags::SHARED);
    let before = mount_fuse(&world.host.join("before"));
    let pod = world.host_path_pod("p", (manifest::annotations::MOUNTS_AT_END, "detach"));
    let made = world.set_up(&pod);
    world.volumes(&pod).sub_path(("v", &path(&made, "v")), "main", 0, "sub").unwrap();
    let left = mount_fuse(&world.host.join("sub/left"));
    world.set_up(&pod);
    assert_eq!(world.volumes(&pod).tear_down().unwrap().left, []);
    assert_eq!(world.places(), [world.host.clone(), world.host.join("before")]);
    drop((before, left));
}
