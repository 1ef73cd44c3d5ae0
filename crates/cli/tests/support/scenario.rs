//! Cases on the running kernel: a script of commands in mount namespaces, then questions with the answers that are
//! expected. The files are in `tests/cases`; `tests/cases/README.md` says how to read and write them.
#![allow(dead_code, unreachable_pub, missing_docs)]

use crate::support::{Ran, ran, rhizome};
use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use sys::features::{Features, Support};

/// A case: its title and its lines, each with its number in the file.
pub struct Case {
    pub file: String,
    pub title: String,
    pub lines: Vec<(usize, String)>,
}

/// Whether a line is only for kernels that have, or have not, ids of mounts that are not used again; and the line.
pub fn condition(line: &str) -> (Option<bool>, &str) {
    let words = [("[unique ids] ", true), ("[no unique ids] ", false)];
    let found = words.into_iter().find_map(|(word, wanted)| Some((Some(wanted), line.strip_prefix(word)?)));
    found.unwrap_or((None, line))
}

/// All cases of a file.
pub fn cases(path: &Path) -> Vec<Case> {
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut found: Vec<Case> = Vec::new();
    for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        let line = line.trim();
        if let Some(title) = line.strip_prefix("== ") {
            found.push(Case { file: file.clone(), title: title.to_owned(), lines: Vec::new() });
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = found.last_mut().unwrap_or_else(|| panic!("{file}: a line before the first title"));
            case.lines.push((number + 1, line.to_owned()));
        }
    }
    found
}

/// A shell in a mount namespace, which runs one line after the other.
struct Shell {
    child: Child,
    /// The process that is in the namespace.
    pid: u32,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Shell {
    fn start(mut command: Command) -> Shell {
        let _inherits = SPAWN.read().unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut shell = Shell {
            pid: 0,
            tell: child.stdin.take().unwrap(),
            hear: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        writeln!(shell.tell, "exec 2>&1; echo $$").unwrap();
        let mut line = String::new();
        shell.hear.read_line(&mut line).unwrap();
        shell.pid = line.trim().parse().unwrap_or_else(|_| panic!("no shell: {line}"));
        shell
    }

    /// What the line says, and its exit status.
    fn run(&mut self, line: &str) -> (String, i32) {
        const END: &str = "=-=-= ";
        writeln!(self.tell, "{line}\nended=$?\necho\necho \"{END}$ended\"").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(self.hear.read_line(&mut line).unwrap() > 0, "the shell has ended: {said}");
            if let Some(status) = line.strip_prefix(END) {
                return (said.trim().to_owned(), status.trim().parse().unwrap());
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // What a line has put into the background would outlive the shell.
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for pid in
            children.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?))
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A FUSE server.
struct Server {
    end: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

fn serve(mut device: std::fs::File, end: &AtomicBool) {
    let mut page = vec![0; 1 << 17];
    while !end.load(Ordering::Relaxed) {
        match device.read(&mut page) {
            Ok(count) if count >= 40 => drop(device.write_all(&answer(&page[..count]))),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => break,
        }
    }
}

/// Held for writing while a descriptor may be inherited that nobody else should get.
static SPAWN: RwLock<()> = RwLock::new(());

/// A world to throw away, and what is asked in it.
pub struct World {
    directory: tempfile::TempDir,
    shells: BTreeMap<String, Shell>,
    /// Whoever made a user namespace, which lives as long as it does.
    holders: Vec<Child>,
    servers: BTreeMap<String, Server>,
    last: Option<(Vec<String>, Ran, serde_json::Value)>,
}

/// Makes a root of its own, with the machine's tools in it, private throughout.
const MAKE_WORLD: &str = "set -e\nmount --make-rprivate /\nmount -t tmpfs world /mnt\ncd /mnt\nmkdir -p proc sys dev usr etc tmp mnt run var/lib old\nmount -t tmpfs tmp tmp\nmkdir tmp/root\n\
     mount --rbind /usr usr\nfor link in bin sbin lib lib64; do test ! -e /$link || cp -a /$link $link 2>/dev/null; done\n\
     mount -t proc proc proc\nmount --bind /dev dev\npivot_root . old\ncd /\numount -l /old\nrmdir /old\nexec sh";

impl World {
    pub fn new() -> World {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MAKE_WORLD]);
        let shells = BTreeMap::from([("host".to_owned(), Shell::start(command))]);
        let directory = tempfile::tempdir().unwrap();
        World { directory, shells, holders: Vec::new(), servers: BTreeMap::new(), last: None }
    }

    fn shell(&mut self, name: &str) -> &mut Shell {
        self.shells.get_mut(name).unwrap_or_else(|| panic!("no namespace {name}"))
    }

    /// `ns NAME [from NAME] [--user]`
    fn namespace(&mut self, words: &[&str]) {
        let user = words.contains(&"--user");
        let from = words.iter().position(|word| *word == "from").map_or("host", |at| words[at + 1]);
        let target = self.shell(from).pid.to_string();
        let mut command = Command::new("nsenter");
        if user {
            command.args(["--target", &target, "--mount", "unshare", "--user", "--map-root-user", "--mount"]);
            let inherits = SPAWN.read().unwrap();
            let mut holder = command
                .args(["--propagation", "unchanged", "sh", "-c", "echo $$; exec sleep 1000"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            drop(inherits);
            let mut pid = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut pid).unwrap();
            self.holders.push(holder);
            command = Command::new("nsenter");
            command.args(["--target", pid.trim(), "--mount", "sh"]);
        } else {
            command.args([
                "--target",
                &target,
                "--mount",
                "unshare",
                "--mount",
                "--propagation",
                "unchanged",
                "sh",
            ]);
        }
        self.shells.insert(words[0].to_owned(), Shell::start(command));
    }

    /// `container NAME VOLUME…`: a namespace with a root file system of its own and volumes `SOURCE:TARGET:HOW`, as
    /// a container runtime makes it; HOW is what the volume is made: `rprivate`, `rslave`, `rshared`, or without the r
    /// bound without what is mounted below.
    fn container(&mut self, words: &[&str]) {
        self.namespace(&words[..1]);
        let root = "/tmp/root";
        // What is mounted here goes nowhere: /tmp is private.
        let mut script = format!(
            "set -e; mount --make-private /tmp; mount -t tmpfs rootfs {root}; cd {root}; mkdir proc usr dev tmp old; mount --rbind /usr usr; \
             mount --make-rprivate usr; \
             for link in bin sbin lib lib64; do test ! -e /$link || cp -a /$link $link 2>/dev/null; done; \
             mount -t proc proc proc; mount --bind /dev dev; mount --make-private dev; "
        );
        for volume in &words[1..] {
            let [source, target, how] = volume.split(':').collect::<Vec<_>>()[..] else {
                panic!("{volume} is not SOURCE:TARGET:HOW")
            };
            let bind = if how.starts_with('r') { "rbind" } else { "bind" };
            script.push_str(&format!("mkdir -p .{target}; mount --{bind} {source} .{target}; "));
            // A copy of a shared mount is its peer already; one of a private mount stays private.
            if how != "rshared" && how != "shared" {
                script.push_str(&format!("mount --make-{how} .{target}; "));
            }
        }
        script.push_str("pivot_root . old; cd /; mount --make-rprivate /old; umount -l /old; rmdir /old");
        let shell = self.shell(words[0]);
        let (said, status) = shell.run(&format!("sh -c '{script}'; ended=$?; cd /; (exit $ended)"));
        assert_eq!(status, 0, "container {}: {said}", words[0]);
    }

    /// `fuse PATH SOURCE`: a FUSE file system at a path of the host, with a server that answers.
    fn fuse(&mut self, path: &str, source: &str) {
        // Nobody but mount(8) may inherit the server's end.
        let _alone = SPAWN.write().unwrap();
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty()).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let pid = self.shell("host").pid.to_string();
        let mount = Command::new("nsenter")
            .args(["--target", &pid, "--mount", "mount", "-i", "-t", "fuse", "-o", &options, source, path])
            .output()
            .unwrap();
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        rustix::io::fcntl_setfd(&device, FdFlags::CLOEXEC).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let serving = std::thread::spawn(move || serve(std::fs::File::from(device), &told));
        self.servers.insert(source.to_owned(), Server { end, serving });
    }

    /// `fuse-end SOURCE`: the server goes, as when its process dies.
    fn fuse_end(&mut self, source: &str) {
        let server = self.servers.remove(source).unwrap_or_else(|| panic!("no server of {source}"));
        server.end.store(true, Ordering::Relaxed);
        server.serving.join().unwrap();
    }

    /// A line of a case.
    pub fn line(&mut self, line: &str) {
        let (unique_ids, line) = condition(line);
        let has_unique_ids = || Features::ask().statmount == Support::Yes;
        if unique_ids.is_some_and(|wanted| wanted != has_unique_ids()) {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "ns" => self.namespace(&words[1..]),
            "container" => self.container(&words[1..]),
            "fuse" => self.fuse(words[1], words[2]),
            "end" => drop(self.shells.remove(words[1])),
            "fuse-end" => self.fuse_end(words[1]),
            "?" => self.ask(&words[1..]),
            "=" => self.expect(words[1], line.splitn(3, ' ').nth(2).unwrap_or_default()),
            _ => {
                let (name, command) = match line.strip_prefix('@') {
                    Some(rest) => rest.split_once(' ').unwrap(),
                    None => ("host", line),
                };
                let (command, fails) = match command.strip_prefix("! ") {
                    Some(command) => (command, true),
                    None => (command, false),
                };
                let (said, status) = self.shell(name).run(command);
                assert_eq!(status != 0, fails, "{status}: {said}");
            }
        }
    }

    /// A question: its namespaces are called by their names here.
    fn ask(&mut self, words: &[&str]) {
        let root = self.directory.path().to_str().unwrap().to_owned();
        let mut args: Vec<String> = vec!["--root".to_owned(), root];
        for word in words {
            let pid = self.shells.get(*word).map(|shell| format!("pid:{}", shell.pid));
            args.push(pid.unwrap_or_else(|| (*word).to_owned()));
        }
        if words[0] == "why-busy" && !words.contains(&"--in") {
            args.extend(["--in".to_owned(), format!("pid:{}", self.shells["host"].pid)]);
        }
        if words[0] == "audit" && !words.contains(&"--host") {
            args.extend(["--host".to_owned(), format!("pid:{}", self.shells["host"].pid)]);
        }
        if words[0].starts_with("why") && words[0] != "why-busy" && !words.contains(&"--from") {
            args.push("--from".to_owned());
            args.push(format!("pid:{}", self.shells["host"].pid));
        }
        let _inherits = SPAWN.read().unwrap();
        let text = |args: &[String]| {
            ran(rhizome(&args.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap())
        };
        let told = text(&args);
        args.extend(["-o".to_owned(), "json".to_owned()]);
        let document = text(&args);
        let json = serde_json::from_str(&document.stdout).unwrap_or_else(|_| panic!("{document:?}"));
        args.truncate(args.len() - 2);
        self.last = Some((args, told, json));
    }

    /// The answer with the names of this case for its processes.
    fn named(&self, text: &str) -> String {
        self.shells.iter().fold(text.to_owned(), |text, (name, shell)| {
            text.replace(&format!("pid {} (sh)", shell.pid), name)
        })
    }

    /// The same in one line.
    fn words(&self, text: &str) -> String {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.named(&text)
    }

    fn expect(&mut self, what: &str, value: &str) {
        let (args, told, json) = self.last.as_ref().expect("a question first");
        let text = self.named(&told.stdout);
        let (answer, cause) = (&json["answer"], &json["answer"]["cause"]);
        let findings = || json["findings"].as_array().cloned().unwrap_or_default();
        let of =
            |rule: &str| findings().into_iter().filter(|finding| finding["id"] == rule).collect::<Vec<_>>();
        match what {
            "finds" => {
                let (rule, said) = value.split_once(' ').unwrap_or((value, ""));
                assert_eq!(told.status, if args[2] == "audit" { 1 } else { 0 }, "{text}");
                let found = of(rule);
                assert!(!found.is_empty(), "not found: {rule}\n{text}");
                let title = |finding: &serde_json::Value| self.words(finding["title"].as_str().unwrap());
                let titles: Vec<String> = found.iter().map(title).collect();
                assert!(
                    titles.iter().any(|title| title.contains(said)),
                    "no such title: {said}\n{titles:#?}"
                );
            }
            "clean" => {
                assert_eq!(
                    (told.status, findings().len()),
                    (if args[2] == "audit" { 0 } else { 1 }, 0),
                    "{text}"
                );
            }
            "lacks" => assert!(of(value).is_empty(), "found: {value}\n{text}"),
            "mends" => {
                let mends =
                    of(value).first().map(|finding| finding["mends"].as_array().cloned().unwrap_or_default());
                let mends = mends.unwrap_or_else(|| panic!("not found: {value}\n{text}"));
                let words: Vec<String> = args[2..].to_vec();
                self.mend(&mends, "node", &text);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.ask(&words);
                self.expect("lacks", value);
            }
            "yes" | "no" => assert_eq!(answer["visible"], what, "{text}"),
            "cause" => assert_eq!(cause["id"], value, "{text}"),
            "at" => assert_eq!(answer["place"], value, "{text}"),
            "says" => {
                let said = self.words(&told.stdout);
                assert!(said.contains(value), "not said: {value}\n{said}");
            }
            "breaks" => {
                let first = answer["chain"].as_array().unwrap().iter().find(|link| link["holds"] == false);
                assert_eq!(first.map(|link| &link["rule"]), Some(&value.into()), "{text}");
            }
            "manifest" => {
                let mends = cause["mends"].as_array().cloned().unwrap_or_default();
                let found = mends.iter().any(|mend| {
                    mend["where"] == "manifest" && mend["command"].as_str().unwrap().contains(value)
                });
                assert!(found, "no such mend in the manifest: {value}\n{text}");
            }
            "mend" => {
                let (how, then) = value.split_once(" then ").unwrap_or((value, ""));
                let mends = cause["mends"].as_array().cloned().unwrap_or_default();
                let (args, json) = (args.clone(), mends);
                self.mend(&json, how, &text);
                let words: Vec<String> = args[2..].to_vec();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.ask(&words);
                match then {
                    "yes" | "no" => self.expect(then, ""),
                    "" => {}
                    cause => self.expect("cause", cause),
                }
            }
            _ => panic!("= {what}?"),
        }
    }

    /// Makes the first mend of the node, by `rhizome mend` or by hand.
    fn mend(&mut self, mends: &[serde_json::Value], how: &str, text: &str) {
        let mend =
            mends.iter().find(|mend| mend["id"].is_string() && (how != "hand" || mend["by_hand"].is_array()));
        let mend = mend.unwrap_or_else(|| panic!("no mend of the node\n{text}"));
        let _inherits = SPAWN.read().unwrap();
        let done = match how {
            "hand" => {
                let lines: Vec<&str> =
                    mend["by_hand"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
                ran(Command::new("sh").args(["-ec", &lines.join("\n")]).output().unwrap())
            }
            _ => {
                let root = self.directory.path().to_str().unwrap();
                let id = mend["id"].as_str().unwrap();
                let before = ran(rhizome(&["--root", root, "mend", "--dry-run", id]).output().unwrap());
                let done = ran(rhizome(&["--root", root, "mend", id]).output().unwrap());
                // What was said before is what was done.
                let will = before.stdout.split_once("will touch:").map(|(_, will)| self.named(will));
                let touched = done.stdout.split_once("\ntouched:").map(|(_, touched)| self.named(touched));
                assert_eq!(will, touched, "{}", done.stdout);
                // A second time it is refused, since what it relied on is not so any more.
                let again = ran(rhizome(&["--root", root, "mend", id]).output().unwrap());
                assert_eq!(again.status, 1, "made twice: {}{}", again.stdout, again.stderr);
                done
            }
        };
        assert_eq!(done.status, 0, "{}{}\n{text}", done.stdout, done.stderr);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// What a FUSE server says to a request: to FUSE_INIT that it is there, to all else that it cannot (ENOSYS).
fn answer(request: &[u8]) -> Vec<u8> {
    const INIT: u32 = 26;
    const ENOSYS: i32 = 38;
    let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
    let (opcode, unique) = (word(4), &request[8..16]);
    let mut body = Vec::new();
    if opcode == INIT {
        // fuse_init_out of protocol 7.23 and later: 64 bytes.
        for word in [7u32, 31, 4096, 0] {
            body.extend(word.to_ne_bytes());
        }
        body.resize(64, 0);
        body[20..24].copy_from_slice(&4096u32.to_ne_bytes());
    }
    let error = if opcode == INIT { 0i32 } else { -ENOSYS };
    let mut reply = Vec::new();
    reply.extend((16 + body.len() as u32).to_ne_bytes());
    reply.extend(error.to_ne_bytes());
    reply.extend(unique);
    reply.extend(body);
    reply
}
