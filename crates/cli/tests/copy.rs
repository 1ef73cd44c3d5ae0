//! `rhizome cp`: in, out, between pods, archives; what is hostile; memory.

mod support;
#[path = "support/world.rs"]
mod world;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Ran, ran};
use world::World;

/// Pods that run, of a user each.
fn start(world: &World, names: &[&str], user: u32) {
    for name in names {
        world.start(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - {{name: main, image: busybox, workingDir: /srv, command: [sleep, \"1000\"], \
             securityContext: {{runAsUser: {user}, runAsGroup: {user}}}, volumeMounts: [{{name: v, mountPath: /srv}}]}}\n  \
             volumes: [{{name: v, emptyDir: {{}}}}]\n"
        ));
    }
}

/// A folder for the host's side.
fn folder(world: &World) -> PathBuf {
    let folder = world.volume().join("here");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// `rhizome cp` where the files are.
fn cp(world: &World, folder: &Path, args: &[&str]) -> Ran {
    let args = [&["cp"], args].concat();
    ran(world.command(&args).current_dir(folder).output().unwrap())
}

/// As `cp`, without a word and with 0.
fn copied(world: &World, folder: &Path, args: &[&str]) {
    let ran = cp(world, folder, args);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""), "{args:?}");
}

fn inside(world: &World, pod: &str, script: &str) -> String {
    let ran = world.run(&["exec", pod, "--", "sh", "-c", script]);
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.stdout
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[test]
fn files_and_trees_both_ways() {
    let Some(world) = World::isolated("files_and_trees_both_ways") else { return };
    start(&world, &["a", "b"], 65534);
    let here = folder(&world);
    fs::write(here.join("f.txt"), "hello\n").unwrap();
    fs::create_dir_all(here.join("tree/sub/empty")).unwrap();
    let long = "x".repeat(150);
    fs::write(here.join("tree/sub").join(&long), "long").unwrap();
    fs::write(here.join("tree/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(here.join("tree/run"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(here.join("tree/sub"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("sub/nowhere", here.join("tree/link")).unwrap();
    symlink("/etc/hostname", here.join("tree/absolute")).unwrap();
    // By a name, and into a directory; relative to the working directory, and not.
    copied(&world, &here, &["f.txt", "a:new"]);
    copied(&world, &here, &["f.txt", "a/main:/srv"]);
    copied(&world, &here, &["./f.txt", "-c", "main", "a:/tmp/g"]);
    assert_eq!(inside(&world, "a", "cat /srv/new /srv/f.txt /tmp/g"), "hello\nhello\nhello\n");
    assert_eq!(inside(&world, "a", "stat -c '%u %g %a' /srv/new"), "65534 65534 644\n");
    // A tree by a new name, then into what is there, then its contents.
    copied(&world, &here, &["tree", "a:/srv/t"]);
    copied(&world, &here, &["tree", "a:/srv/t"]);
    copied(&world, &here, &["tree/.", "a:/srv/t"]);
    let list = inside(
        &world,
        "a",
        "cd /srv/t; find . | sort; readlink link; readlink absolute; stat -c '%a %u' run sub",
    );
    let tree =
        |at: &str| format!("{at}/absolute\n{at}/link\n{at}/run\n{at}/sub\n{at}/sub/empty\n{at}/sub/{long}\n");
    let expected = format!(".\n{}", tree("."));
    let mut lines: Vec<String> =
        (expected + "./tree\n" + &tree("./tree")).lines().map(str::to_owned).collect();
    lines.sort();
    let rest = "sub/nowhere\n/etc/hostname\n751 65534\n555 65534\n";
    assert_eq!(list, lines.join("\n") + "\n" + rest);
    // Out again, also what the container's own links lead to; times are kept.
    inside(&world, "a", "ln -s /srv/new /tmp/to; touch -d @1000000000 /srv/new; mkfifo /srv/t/pipe");
    copied(&world, &here, &["a:/tmp/to", "out"]);
    assert_eq!(text(here.join("out")), "hello\n");
    let modified = fs::metadata(here.join("out")).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_000_000_000);
    let ran = cp(&world, &here, &["a:t", "back"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, "note: not copied: t/pipe: a named pipe\n"));
    assert_eq!(text(here.join("back/sub").join(&long)), "long");
    assert_eq!(fs::read_link(here.join("back/absolute")).unwrap(), Path::new("/etc/hostname"));
    assert_eq!(fs::metadata(here.join("back/run")).unwrap().permissions().mode() & 0o7777, 0o751);
    // From pod to pod.
    copied(&world, &here, &["a:/srv/t/tree/.", "b:/srv"]);
    assert_eq!(inside(&world, "b", "cat /srv/sub/x*"), "long");
    // A file that is mounted is written, not replaced.
    fs::write(here.join("hosts"), "127.0.0.1 here\n").unwrap();
    copied(&world, &here, &["hosts", "a:/etc/hosts"]);
    assert_eq!(inside(&world, "a", "cat /etc/hosts"), "127.0.0.1 here\n");
    // A file of the kernel's says that it is empty.
    copied(&world, &here, &["a:/proc/version", "version"]);
    assert!(text(here.join("version")).starts_with("Linux"));
}

#[test]
fn archives_both_ways() {
    let Some(world) = World::isolated("archives_both_ways") else { return };
    start(&world, &["a"], 0);
    let here = folder(&world);
    inside(&world, "a", "mkdir -p d/e; echo x > d/e/f; ln d/e/f d/g");
    let out = |args: &[&str]| {
        let output = world.command(&[&["cp"], args].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let file = here.join("archive.tar");
        fs::write(&file, output.stdout).unwrap();
        file
    };
    let archive = out(&["a:d", "-"]);
    let list = Command::new("tar").args(["tf"]).arg(&archive).output().unwrap();
    let mut names: Vec<&str> = std::str::from_utf8(&list.stdout).unwrap().lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["d/", "d/e/", "d/e/f", "d/g"]);
    let into = |archive: &Path, place: &str| {
        let mut command = world.command(&["cp", "-", place]);
        ran(command.stdin(fs::File::open(archive).unwrap()).output().unwrap())
    };
    inside(&world, "a", "mkdir new");
    let ran = into(&archive, "a:new");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(inside(&world, "a", "cat new/d/e/f"), "x\n");
    assert_eq!(into(&archive, "a:nowhere").status, 1);
    fs::write(here.join("no.tar"), "this is no archive").unwrap();
    let ran = into(&here.join("no.tar"), "a:new");
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.starts_with("error: cannot read the archive: "), "{ran:?}");
}

#[test]
fn what_is_not_there_and_what_cannot_be() {
    let Some(world) = World::isolated("what_is_not_there_and_what_cannot_be") else { return };
    start(&world, &["a"], 0);
    let here = folder(&world);
    fs::create_dir(here.join("tree")).unwrap();
    fs::write(here.join("f"), "").unwrap();
    fs::write(here.join("a:b"), "colon").unwrap();
    inside(&world, "a", "echo > /srv/file; mkfifo /srv/pipe");
    let cases: [(&[&str], i32, &str); 10] = [
        (&["f", "g"], 2, "error: neither is in a pod: one of the two must be POD[/CONTAINER]:PATH"),
        (&["f", ":x"], 2, "error: \":x\" is not POD[/CONTAINER]:PATH"),
        (&["nosuch", "a:/tmp"], 1, "error: cannot open nosuch: No such file or directory"),
        (&["a:/nosuch", "x"], 1, "error: cannot open /nosuch: No such file or directory"),
        (&["f", "a:/no/such/place"], 1, "error: cannot open /no/such: No such file or directory"),
        (&["f", "a:/new/"], 1, "error: cannot open /new/: No such file or directory"),
        (&["tree", "a:/srv/file"], 1, "error: /srv/file is not a directory"),
        (&["a:/srv/pipe", "x"], 2, "error: cannot copy /srv/pipe: it is a named pipe"),
        (&["f", "nosuch:/tmp"], 1, "error: pods \"nosuch\" not found"),
        (&["f", "a/nosuch:/tmp"], 1, "error: container nosuch is not valid for pod a out of: main"),
    ];
    for (args, status, words) in cases {
        let ran = cp(&world, &here, args);
        let first = ran.stderr.lines().next().unwrap_or_default();
        assert_eq!((ran.status, first), (status, words), "{args:?}");
    }
    copied(&world, &here, &["./a:b", "a:/tmp/colon"]);
    assert_eq!(inside(&world, "a", "cat /tmp/colon"), "colon");
    assert_eq!(world.run(&["stop", "a"]).status, 0);
    let ran = cp(&world, &here, &["f", "a:/tmp"]);
    assert_eq!(
        (ran.status, ran.stderr.as_str()),
        (1, "error: container \"main\" in pod \"a\" is not running\n")
    );
}

/// A name, its type, its link's target, its contents.
type Member = (&'static str, u8, &'static str, &'static str);

/// A tar archive of these members.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind, target, contents) in members {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0004755\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", contents.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[*kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000000\0");
        put(337, b"0000000\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(contents.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn nothing_hostile_leads_out_of_the_destination() {
    let Some(world) = World::isolated("nothing_hostile_leads_out_of_the_destination") else { return };
    start(&world, &["a"], 0);
    let here = folder(&world);
    inside(&world, "a", "echo safe > /tmp/victim; mkdir /srv/d; ln -s /tmp /srv/d/linked");
    let cases: [(&[Member], &str); 6] = [
        (&[("../../tmp/victim", b'0', "", "evil")], "it has `..` in it"),
        (&[("x", b'2', "/tmp", ""), ("x/victim", b'0', "", "evil")], "a symbolic link leads to its place"),
        (&[("linked/victim", b'0', "", "evil")], "a symbolic link leads to its place"),
        (&[("linked", b'5', "", ""), ("linked/victim", b'0', "", "evil")], "a symbolic link has its place"),
        (&[("h", b'1', "../../tmp/victim", "")], "it has `..` in it"),
        (&[("h", b'1', "linked/victim", "")], "a symbolic link leads to its place"),
    ];
    for (members, words) in cases {
        let ran = world.run_with_input(&["cp", "-", "a:/srv/d"], &archive(members));
        assert_eq!(ran.status, 2, "{members:?} {ran:?}");
        assert!(ran.stderr.contains(words), "{members:?} {ran:?}");
        assert_eq!(inside(&world, "a", "cat /tmp/victim; ls -A /tmp"), "safe\nvictim\n", "{members:?}");
    }
    // An absolute name is below the destination; a link is replaced, not written through; devices are not made; no
    // set-user-id.
    let tame: &[Member] = &[
        ("/tmp/victim", b'0', "", "tame"),
        ("s", b'2', "/tmp/victim", ""),
        ("s", b'0', "", "tame"),
        ("dev", b'3', "", ""),
    ];
    let ran = world.run_with_input(&["cp", "-", "a:/srv/d"], &archive(tame));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.stderr, "note: not copied: dev: neither file, directory nor link\n");
    let seen = inside(
        &world,
        "a",
        "cat /tmp/victim /srv/d/tmp/victim /srv/d/s; stat -c ' %F %a' /srv/d/s; ls /srv/d",
    );
    assert_eq!(seen, "safe\ntametame regular file 755\nlinked\ns\ntmp\nx\n");

    // Out of a container, onto a host where links wait.
    let victim = here.join("victim");
    fs::write(&victim, "safe").unwrap();
    fs::create_dir_all(here.join("dest/t")).unwrap();
    symlink(&here, here.join("dest/t/sub")).unwrap();
    symlink(&victim, here.join("dest/t/file")).unwrap();
    inside(&world, "a", "mkdir -p /srv/t/sub; echo evil > /srv/t/file; echo evil > /srv/t/sub/victim");
    let ran = cp(&world, &here, &["a:/srv/t", "dest"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("a symbolic link has its place, and nothing is written through one"),
        "{ran:?}"
    );
    fs::remove_file(here.join("dest/t/sub")).unwrap();
    copied(&world, &here, &["a:/srv/t", "dest"]);
    assert_eq!(text(here.join("dest/t/file")), "evil\n");
    assert_eq!(text(&victim), "safe");
}

#[test]
fn the_hosts_files_are_not_reached_through_proc() {
    let Some(world) = World::isolated("the_hosts_files_are_not_reached_through_proc") else { return };
    world.start(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostPID: true\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - {name: main, image: busybox, command: [sleep, \"1000\"]}\n",
    );
    let here = folder(&world);
    fs::write(here.join("f"), "x").unwrap();
    // Ours, which is of the host.
    let root = format!("/proc/{}/root", std::process::id());
    inside(&world, "a", &format!("ln -s {root}/etc /tmp/etc; ln -s {root}/etc/hostname /tmp/name"));
    let direct = format!("a:{root}/etc/hostname");
    for args in [["f", "a:/tmp/etc/rhizome-was-here"], ["a:/tmp/name", "out"], [&direct, "out"]] {
        let ran = cp(&world, &here, &args);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains("Too many levels of symbolic links"), "{ran:?}");
    }
    assert!(!Path::new("/etc/rhizome-was-here").exists() && !here.join("out").exists());
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let Some(world) = World::isolated("memory_does_not_grow_with_the_file") else { return };
    start(&world, &["a"], 0);
    let here = folder(&world);
    fs::write(here.join("small"), "x").unwrap();
    fs::File::create(here.join("large")).unwrap().set_len(96 << 20).unwrap();
    // Of the address space, so that it cannot be hidden: what a small file needs, and a little.
    let limited = |kib: u64, args: &str| {
        let script = format!("ulimit -v {kib}; exec \"$@\" {args}");
        let rhizome = world.command(&["cp"]);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(rhizome.get_program()).args(rhizome.get_args());
        command.current_dir(&here).stderr(Stdio::null()).status().unwrap().success()
    };
    let needed = (1..64).map(|step| step * 8 * 1024).find(|kib| limited(*kib, "small a:/srv/small"));
    let bound = needed.unwrap() + 8 * 1024;
    assert!(limited(bound, "large a:/srv/large"), "in, {bound} KiB");
    assert!(limited(bound, "a:/srv/large back"), "out, {bound} KiB");
    assert_eq!(fs::metadata(here.join("back")).unwrap().len(), 96 << 20);
}
