//! Descriptors of ours, and a working directory that is reached through one.

use crate::support::{World, chain, finish, shell};
use manifest::cri::ContainerConfig;
use std::os::unix::fs::symlink;

/// Descriptors that a careless library would leave open in a runtime.
const LEFT_OPEN: usize = 12;

/// Tries to read a file of the host from wherever it finds itself.
const LOOK: &str =
    "cat marker ../marker ../../../../../../../../../media/host/marker 2>/dev/null; readlink /proc/self/cwd";

fn leave_open(world: &World) -> Vec<std::fs::File> {
    let dir = world.base.join("host");
    std::fs::create_dir(&dir).expect("mkdir");
    std::fs::write(dir.join("marker"), "ESCAPED\n").expect("write");
    let open = |index| {
        let path = if index % 2 == 0 { &dir } else { &world.base };
        let file = std::fs::File::open(path).expect("open");
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("fcntl");
        file
    };
    (0..LEFT_OPEN).map(open).collect()
}

#[track_caller]
fn is_inside(said: &str) {
    assert!(!said.contains("ESCAPED") && !said.contains("unreachable"), "{said}");
}

pub(crate) fn working_directory(world: &World) {
    let open = leave_open(world);
    let pod = world.usual_pod();
    let last = open.iter().map(std::os::fd::AsRawFd::as_raw_fd).max().expect("descriptors");
    let mut refused = 0;
    for number in 3..=last {
        for rest in ["", "/", "/..", "/../../../.."] {
            let working_dir = format!("/proc/self/fd/{number}{rest}");
            let config = ContainerConfig { working_dir, ..shell(LOOK) };
            match pod.create_container(&config, &world.image) {
                Err(_) => refused += 1,
                Ok(mut container) => {
                    match container.start() {
                        Ok(()) => is_inside(&finish(&mut container).stdout),
                        Err(error) => is_inside(&chain(&error)),
                    }
                    runtime::remove_container(&world.dirs, &container.id).expect("remove");
                }
            }
        }
    }
    assert!(refused > 0);
    world.remove(pod);
}

/// The container makes its working directory a link to a descriptor, and waits for an exec.
pub(crate) fn working_directory_of_exec(world: &World) {
    let open = leave_open(world);
    let pod = world.usual_pod();
    let config = ContainerConfig { working_dir: "/work".to_owned(), ..shell("sleep 1000") };
    let mut container = world.start(&pod, &config);
    let work = crate::support::root_of(&container).join("work");
    let last = open.iter().map(std::os::fd::AsRawFd::as_raw_fd).max().expect("descriptors");
    for number in 0..=last {
        for rest in ["", "/..", "/../../../.."] {
            let _ = std::fs::remove_dir(&work).or_else(|_| std::fs::remove_file(&work));
            symlink(format!("/proc/self/fd/{number}{rest}"), &work).expect("symlink");
            if let Ok((_, said)) = world.try_exec(&container.id, &["sh", "-c", LOOK]) {
                is_inside(&said);
            }
        }
    }
    runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, true).expect("kill");
    container.wait().expect("wait");
    world.remove(pod);
}
