//! `rhizome exec`: a command in a container, on our streams or on a terminal.

use crate::args::{self, Global};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::output;
use crate::pods;
use crate::relay::{self, Carried, Pump};
use crate::target::Target;
use crate::terminal::{self, RawMode};
use crate::world::World;
use runtime::{Dirs, ExecConfig, ExecProcess, ExecStdio};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use rustix::stdio::{stderr, stdin, stdout};
use sys::namespace::Namespaces;
use sys::signal::Signals;

/// What comes to us is passed on; a change of the terminal's size too.
const SIGNALS: [Signal; 7] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::WINCH];

/// Runs the command, carries its input and output, and gives its exit status.
///
/// The container never gets a descriptor of ours, only pipes or a terminal of its own: through a terminal of the
/// host it could type, and through a file it could reach the file.
pub(crate) fn run(global: &Global, args: &args::Exec) -> Result {
    if args.command.is_empty() {
        return Err(Failure::wrong_use("you must specify at least one command for the container"));
    }
    // This starts the program again, once.
    sys::process::ensure_read_only_exe().context("running from a read-only path")?;
    warn_of_the_old_form(args);
    let world = World::open(global)?;
    let target = Target::parse(&args.of.pod, args.of.container.as_deref())?;
    let pod = pods::look(&world.client, global, &target.pod)?;
    let container = pods::container(&pod, &target)?;
    let id = pod
        .running_id(&container.name)
        .map_err(|error| Failure::from(error).hint(format!("rhizome inspect {} says why", target.pod)))?;
    let dirs = world.client.root().runtime_dirs();
    let signals = Signals::block(&SIGNALS).context("blocking signals")?;
    let config = |tty| {
        let size = terminal::size().filter(|_| tty);
        ExecConfig { command: args.command.clone(), tty, size, env: Vec::new() }
    };
    let status = if args.tty && wants_terminal() {
        on_a_terminal(&dirs, id, &config(true), args, &signals)?
    } else {
        on_pipes(&dirs, id, &config(false), args.stdin, &signals)?
    };
    Ok(Exit(status))
}

/// `rhizome exec POD COMMAND`, which kubectl once took: the separator is easily forgotten, and a flag of the
/// command is then ours.
fn warn_of_the_old_form(args: &args::Exec) {
    let given: Vec<_> = std::env::args_os().collect();
    let before = given.len().checked_sub(args.command.len() + 1).map(|index| &given[index]);
    if before.is_none_or(|before| before != "--") {
        output::warning("exec POD COMMAND is deprecated, as in kubectl: use exec POD -- COMMAND");
    }
}

/// `-t` without a terminal goes on without, as kubectl does.
pub(super) fn wants_terminal() -> bool {
    let terminal = rustix::termios::isatty(stdin());
    if !terminal {
        output::stderr_line("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    terminal
}

fn on_a_terminal(
    dirs: &Dirs,
    id: &str,
    config: &ExecConfig,
    args: &args::Exec,
    signals: &Signals,
) -> Result<u8> {
    // Not used with a terminal.
    let stdio = ExecStdio { stdin: None, stdout: stdout(), stderr: stderr() };
    let process = runtime::exec(dirs, id, config, stdio)?;
    let Some(master) = &process.terminal else {
        return Err(Failure::wrong_use("the command was started without a terminal"));
    };
    // Ours alone, so that it can be non-blocking.
    rustix::fs::fcntl_setfl(master, OFlags::RDWR | OFlags::NONBLOCK)?;
    let output = Pump::new(copy(master)?, copy(stdout())?);
    let input = match args.stdin {
        true => Some(Pump::new(copy(stdin())?, copy(master)?).until_typed(&args.detach_keys)),
        false => None,
    };
    let raw = input.is_some().then(RawMode::enter).transpose()?;
    let carried =
        relay::carry(process.pidfd.as_fd(), input, vec![output], signals, |received| match received.signal {
            Signal::WINCH => terminal::pass_size_on(master.as_fd()),
            signal => pass_on(&process, signal),
        });
    drop(raw);
    match carried? {
        Carried::Ended => end(&process),
        Carried::Detached => {
            hold(master)?;
            output::note("detached; the command goes on in the container");
            Ok(0)
        }
    }
}

/// Keeps a terminal open for as long as somebody uses it, in a process of its own: with the last descriptor of its
/// master the programs on it would be hung up.
fn hold(master: &OwnedFd) -> Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::process::spawn(Namespaces::empty(), None, || {
        // A hang-up of the terminal that we leave is not for it.
        let _ = rustix::process::setsid();
        sys::process::with_only_descriptors([null.as_fd(); 3], master.as_fd(), |kept| {
            let Ok(master) = kept else { sys::process::exit(sys::process::EXIT_PANICKED) };
            // What is written there is read by nobody; when all have left it, reading fails.
            let mut buffer = [0; 4096];
            loop {
                let mut fds = [PollFd::from_borrowed_fd(master, PollFlags::IN)];
                let _ = rustix::event::poll(&mut fds, None);
                match rustix::io::read(master, &mut buffer) {
                    Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
                    Ok(0) | Err(_) => sys::process::exit(0),
                }
            }
        })
    })?;
    Ok(())
}

fn on_pipes(dirs: &Dirs, id: &str, config: &ExecConfig, input: bool, signals: &Signals) -> Result<u8> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let (stdin_read, stdin_write) = pipe()?;
    let (stdout_read, stdout_write) = pipe()?;
    let (stderr_read, stderr_write) = pipe()?;
    let stdio = ExecStdio {
        stdin: input.then_some(stdin_read.as_fd()),
        stdout: stdout_write.as_fd(),
        stderr: stderr_write.as_fd(),
    };
    let process = runtime::exec(dirs, id, config, stdio)?;
    drop((stdin_read, stdout_write, stderr_write));
    // Our end, which is ours alone.
    rustix::fs::fcntl_setfl(&stdin_write, OFlags::WRONLY | OFlags::NONBLOCK)?;
    let input = if input { Some(Pump::new(copy(stdin())?, stdin_write)) } else { None };
    let outputs = vec![Pump::new(stdout_read, copy(stdout())?), Pump::new(stderr_read, copy(stderr())?)];
    relay::carry(process.pidfd.as_fd(), input, outputs, signals, |received| {
        if received.signal != Signal::WINCH {
            pass_on(&process, received.signal);
        }
    })?;
    end(&process)
}

pub(super) fn copy(fd: impl rustix::fd::AsFd) -> Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 0)?)
}

/// It may have ended meanwhile: then there is nobody to tell.
fn pass_on(process: &ExecProcess, signal: Signal) {
    let _ = sys::process::send_signal(process.pidfd.as_fd(), signal.as_raw());
}

fn end(process: &ExecProcess) -> Result<u8> {
    Ok(process.wait()? as u8)
}
