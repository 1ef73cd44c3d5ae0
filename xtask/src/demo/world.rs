//! Where the experiments happen: commands on the host and in pods, shown with what they print, and what was to be seen.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host;

/// Nothing here takes longer than a moment; what hangs is a failure.
const TIMEOUT_SECONDS: &str = "60";

/// As much of what was seen as fits beside a promise in the closing table.
const MAX_SEEN: usize = 60;

/// What a command printed, and how it ended.
pub(crate) struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    pub(crate) fn ok(&self) -> bool {
        self.status == Some(0)
    }

    /// The exit status; none where a signal ended it.
    pub(crate) fn status(&self) -> Option<i32> {
        self.status
    }

    /// Both streams.
    pub(crate) fn text(&self) -> String {
        let parts = [self.stdout.trim_end(), self.stderr.trim_end()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Words of standard output.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.stdout.split_whitespace().collect()
    }
}

struct Check {
    experiment: usize,
    promise: String,
    seen: String,
    ok: bool,
}

/// One run of the demo.
pub(crate) struct World {
    root: PathBuf,
    rhizome: PathBuf,
    experiment: usize,
    checks: Vec<Check>,
    bold: bool,
}

impl World {
    pub(crate) fn new(root: PathBuf, rhizome: PathBuf) -> Result<World> {
        if !rhizome.is_file() {
            bail!("{} is not there: was rhizome built?", rhizome.display());
        }
        let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(World { root, rhizome, experiment: 0, checks: Vec::new(), bold })
    }

    /// The directory of this world's state.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A heading.
    pub(crate) fn begin(&mut self, number: usize, name: &str, promise: &str) {
        self.experiment = number;
        println!("\n{}\n", self.strong(&format!("== {number}. {name}")));
        println!("Kubernetes promises: {promise}\n");
    }

    /// A sentence between commands.
    pub(crate) fn say(&self, text: &str) {
        println!("\n{text}");
    }

    /// A line of a table.
    pub(crate) fn say_plain(&self, text: &str) {
        println!("   {}", text.trim_end());
    }

    /// A command line on the host, that is: in this world outside all pods.
    pub(crate) fn host(&self, line: &str) -> Result<Ran> {
        self.run("host#", line, Command::new("sh").args(["-c", line]))
    }

    /// A command line in a pod.
    pub(crate) fn inside(&self, pod: &str, line: &str) -> Result<Ran> {
        let mut command = self.command(&["exec", pod, "--", "sh", "-c", line]);
        self.run(&format!("{pod}#"), line, &mut command)
    }

    /// Our own command.
    pub(crate) fn rhizome(&self, args: &[&str]) -> Result<Ran> {
        self.run("host#", &shown(args), &mut self.command(args))
    }

    /// Runs the pods of a manifest, given by its path in the repository or as text, in the background.
    pub(crate) fn run_pods(&self, manifest: &str) -> Result<()> {
        let ran = self.rhizome(&["run", "-d", manifest])?;
        if !ran.ok() {
            bail!("the pods of {manifest} do not run: {}", ran.text());
        }
        Ok(())
    }

    /// The manifest with another name for its pod and a privileged container, written beside the state.
    pub(crate) fn privileged(&self, manifest: &str, name: &str) -> Result<String> {
        let path = host::workspace().join(manifest);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let image = "    image: nginx:latest\n";
        let text = text.replace("  name: mount-a\n", &format!("  name: {name}\n"));
        let text = text.replace(image, &format!("{image}    securityContext:\n      privileged: true\n"));
        let path = self.root.join(format!("{name}.yaml"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A command of ours that talks with us: it prints a line when it is ready, then `then` runs on the host, then it
    /// gets a line and goes on.
    pub(crate) fn interleaved(&self, args: &[&str], then: &str) -> Result<Ran> {
        let mut command = self.command(args);
        println!("{}", self.strong(&format!("host# {}", shown(args))));
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.context("cannot start rhizome")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut said = String::new();
        while !said.ends_with("ready\n") {
            if stdout.read_line(&mut said).context("cannot read what rhizome prints")? == 0 {
                break;
            }
        }
        print_indented(&said);
        self.host(then)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that has ended already shows in its status.
            let _ = stdin.write_all(b"go\n");
        }
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut rest).context("cannot read what rhizome prints")?;
        let output = child.wait_with_output().context("cannot wait for rhizome")?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        print_indented(&rest);
        print_indented(&stderr);
        Ok(Ran { status: output.status.code(), stdout: said + &rest, stderr })
    }

    /// What was to be seen, and whether it was.
    pub(crate) fn check(&mut self, promise: &str, ok: bool, seen: &str) {
        let verdict = if ok { "PASS" } else { "FAIL" };
        println!("{}", self.strong(&format!("   {verdict}: {promise}")));
        let seen = seen.lines().next().unwrap_or_default();
        let seen = if seen.trim().is_empty() {
            "nothing".to_owned()
        } else if seen.chars().count() > MAX_SEEN {
            seen.chars().take(MAX_SEEN - 1).chain(['…']).collect()
        } else {
            seen.to_owned()
        };
        self.checks.push(Check { experiment: self.experiment, promise: promise.to_owned(), seen, ok });
    }

    /// An empty file system at `/mnt`, in place of the one that was there. Nothing is ever deleted: what is bound below
    /// `/mnt` is the machine's own.
    pub(crate) fn fresh_mnt(&self) -> Result<()> {
        let line = "if grep -q ' /mnt .* - tmpfs rhizome-demo ' /proc/self/mountinfo; then umount --recursive /mnt; fi; \
                    mount -t tmpfs rhizome-demo /mnt";
        host::run(Command::new("sh").args(["-c", line]))
    }

    /// All pods away, without words.
    pub(crate) fn remove_pods(&self) {
        let _ = self.command(&["rm", "--force", "--all"]).stdin(Stdio::null()).output();
    }

    /// The closing table; true if all is as promised.
    pub(crate) fn report(&self) -> bool {
        println!("\n{}\n", self.strong("== What was seen"));
        let width = self.checks.iter().map(|check| check.promise.chars().count()).max().unwrap_or(0);
        for check in &self.checks {
            let verdict = if check.ok { "PASS" } else { "FAIL" };
            let line = format!("{}  {verdict}  {:width$}  {}", check.experiment, check.promise, check.seen);
            println!("{}", line.trim_end());
        }
        let failed = self.checks.iter().filter(|check| !check.ok).count();
        println!("\n{} passed, {failed} failed", self.checks.len() - failed);
        failed == 0 && !self.checks.is_empty()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", TIMEOUT_SECONDS]).arg(&self.rhizome).args(args);
        command.env("RHIZOME_ROOT", &self.root).env("NO_COLOR", "1").current_dir(host::workspace());
        command
    }

    fn run(&self, prompt: &str, line: &str, command: &mut Command) -> Result<Ran> {
        println!("{}", self.strong(&format!("{prompt} {line}")));
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran =
            Ran { status: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        print_indented(&ran.text());
        Ok(ran)
    }

    fn strong(&self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Our command with arguments, as one would type it.
fn shown(args: &[&str]) -> String {
    let quoted = |arg: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) { (*arg).to_owned() } else { format!("'{arg}'") }
    };
    let words: Vec<_> = args.iter().map(quoted).collect();
    format!("rhizome {}", words.join(" "))
}

fn print_indented(text: &str) {
    for line in text.lines() {
        println!("   {line}");
    }
}
