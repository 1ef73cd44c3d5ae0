//! The place of a mount exchanged for a link while the mount is being made.

use crate::rival::Rival;
use crate::support::{World, chain, finish, shell};
use manifest::cri::{ContainerConfig, Mount};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const ROUNDS: usize = 25;

/// Where the links lead: over the top, and to a directory that the host has and the image has not.
const LEADS: [&str; 3] = ["../../../../../../../..", "/media/victim", "/"];

struct Scene {
    volume: PathBuf,
    inner: PathBuf,
    victim: PathBuf,
}

impl Scene {
    fn new(world: &World) -> Scene {
        let at = |name: &str| world.base.join(name);
        let scene = Scene { volume: at("volume"), inner: at("inner"), victim: at("victim") };
        for dir in [&scene.volume, &scene.inner, &scene.victim, &scene.volume.join("place")] {
            std::fs::create_dir_all(dir).expect("mkdir");
        }
        std::fs::write(scene.inner.join("marker"), "marker\n").expect("write");
        std::fs::write(at("inner-file"), "marker\n").expect("write");
        scene
    }

    fn mount(at: &str, source: &Path) -> Mount {
        Mount { container_path: at.into(), host_path: source.to_owned(), ..Mount::default() }
    }

    /// Whatever happened, it happened inside.
    fn check(&self, world: &World, before: &[String]) {
        assert_eq!(mounts(world), before, "mounts of the host");
        assert_eq!(names(&self.victim), [""; 0], "made on the host");
        assert!(!Path::new("/inner").exists() && !Path::new("/made").exists());
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("read").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The host's mounts of this world, without the pod's own.
fn mounts(world: &World) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let base = world.base.to_str().expect("UTF-8");
    table.lines().filter(|line| line.contains(base)).map(str::to_owned).collect()
}

/// Creates the container while `place` and `link` are exchanged for each other; hands each that could be made to
/// `look`, with what it printed.
fn in_a_race(world: &World, scene: &Scene, lead: &str, config: &ContainerConfig, look: impl Fn(&str)) {
    let (place, link) = (scene.volume.join("place"), scene.volume.join("link"));
    let _ = std::fs::remove_file(&link);
    symlink(lead, &link).expect("symlink");
    let pod = world.usual_pod();
    let before = mounts(world);
    let rival = Rival::exchanging(&place, &link);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        match pod.create_container(config, &world.image) {
            Ok(mut container) => {
                made += 1;
                container.start().expect("start");
                look(&finish(&mut container).stdout);
                runtime::remove_container(&world.dirs, &container.id).expect("remove");
            }
            Err(error) => {
                refused += 1;
                let said = chain(&error);
                // The last is a mount that moved with its directory once it was there.
                let told =
                    ["symbolic link", "irectory", "not as planned"].iter().any(|words| said.contains(words));
                assert!(told, "{said}");
            }
        }
        scene.check(world, &before);
    }
    drop(rival);
    assert!(made > 0 || refused > 0);
    // The rival has left them in either order.
    if place.symlink_metadata().expect("place").is_symlink() {
        std::fs::rename(&link, scene.volume.join("other")).expect("rename");
        std::fs::rename(&place, &link).expect("rename");
        std::fs::rename(scene.volume.join("other"), &place).expect("rename");
    }
    world.remove(pod);
}

pub(crate) fn exchanged_directory(world: &World) {
    let scene = Scene::new(world);
    let config = ContainerConfig {
        mounts: vec![
            Scene::mount("/volume", &scene.volume),
            Scene::mount("/volume/place/made", &scene.inner),
        ],
        ..shell("cat /proc/self/mountinfo")
    };
    for lead in LEADS {
        in_a_race(world, &scene, lead, &config, |mountinfo| {
            let count = mountinfo.lines().filter(|line| line.contains(" /inner ")).count();
            assert_eq!(count, 1, "{mountinfo}");
        });
    }
}

/// A directory and a file that are to be made because they are missing.
pub(crate) fn directories_made_outside(world: &World) {
    let scene = Scene::new(world);
    let file = world.base.join("inner-file");
    let config = ContainerConfig {
        mounts: vec![
            Scene::mount("/volume", &scene.volume),
            Scene::mount("/volume/place/made/one/two/three", &scene.inner),
            Scene::mount("/volume/place/made/by/the/way", &file),
        ],
        ..shell("true")
    };
    for lead in LEADS {
        in_a_race(world, &scene, lead, &config, |_| ());
        for made in ["place/made", "made"] {
            let _ = std::fs::remove_dir_all(scene.volume.join(made));
        }
    }
}

/// The image puts a link where the kernel's file systems go.
pub(crate) fn links_at_kernel_directories(world: &World) {
    let volume = world.base.join("volume");
    std::fs::create_dir(&volume).expect("mkdir");
    let pod = world.usual_pod();
    let config = ContainerConfig { mounts: vec![Scene::mount("/volume", &volume)], ..shell("true") };
    for name in ["proc", "sys", "dev"] {
        let place = world.image_path(name);
        std::fs::remove_dir(&place).expect("rmdir");
        for lead in ["/volume", "volume", "/tmp", "../../..", "self"] {
            symlink(lead, &place).expect("symlink");
            let error = pod.create_container(&config, &world.image).expect_err("a link");
            let expected = format!("/{name} of the image is a symbolic link");
            assert!(chain(&error).contains(&expected), "{}", chain(&error));
            assert_eq!(names(&volume), [""; 0]);
            std::fs::remove_file(&place).expect("unlink");
        }
        std::fs::create_dir(&place).expect("mkdir");
    }
    world.remove(pod);
}

/// A volume where `/proc` should be, with files named as those that a runtime writes to.
pub(crate) fn volume_in_the_place_of_proc(world: &World) {
    let fake = world.base.join("fake-proc");
    for dir in ["self/attr/apparmor", "self/fd", "thread-self", "sys/kernel"] {
        std::fs::create_dir_all(fake.join(dir)).expect("mkdir");
    }
    for file in ["self/attr/exec", "self/attr/apparmor/exec", "self/oom_score_adj", "sys/kernel/core_pattern"]
    {
        std::fs::write(fake.join(file), "untouched").expect("write");
    }
    let (place, link) = (fake.join("self"), fake.join("link"));
    symlink("/proc/thread-self", &link).expect("symlink");
    let config = ContainerConfig {
        mounts: vec![Scene::mount("/proc", &fake)],
        ..shell("echo $$; cat /proc/sys/kernel/core_pattern")
    };
    let rival = Rival::exchanging(&place, &link);
    let pod = world.usual_pod();
    for _ in 0..ROUNDS {
        // Only the volume is there: nothing of the real /proc shows, nothing of ours was written.
        assert_eq!(world.run(&pod, &config).stdout, "1\nuntouched");
    }
    drop(rival);
    let real = if place.symlink_metadata().expect("self").is_symlink() { link } else { place };
    for file in ["attr/exec", "attr/apparmor/exec", "oom_score_adj"] {
        assert_eq!(std::fs::read_to_string(real.join(file)).expect("read"), "untouched", "{file}");
    }
    world.remove(pod);
}
