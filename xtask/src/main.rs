//! What a developer of this project types: set-up, images, tests, demo. `cargo xtask` lists it.
//!
//! Nothing here is part of the program. It may use the system's package manager, and says what it installs.
#![forbid(unsafe_code)]

mod adopt;
mod bench;
mod debian;
mod demo;
mod host;
mod images;
mod kubectl;
mod leftovers;
mod mutants;
mod oci_archive;
mod rootfs;
mod setup;
mod soak;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup            install what tests and demo need with the system's package manager
  images           assemble the busybox, nginx and bindfs images from Debian packages
  test [ARGS…]     setup, images, then `cargo test --workspace ARGS…`, then see that nothing was left behind
  demo [N…]        setup, images, then the article's experiments on this kernel (all, or those of these numbers)
  soak PART [N]    what the tests do in short, for long: the model, many pods at once, pod after pod (`soak --help`)
  mutants [WORD…]  wrong rules put into a copy of the model, and which test notices each (`mutants generated`: all
                   that cargo-mutants thinks of)
  bench [ARGS…]    what it costs, beside the programs that do the same (`bench --help`)
  adopt [COMMIT]   the pods of an earlier commit's program (the one before this) under this one
  vm [ARGS…]       the tests on Debian's own kernel in a virtual machine (`vm --help`)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    match run(&command, args.collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, args: Vec<String>) -> Result<ExitCode> {
    match command {
        "setup" => {
            setup::run()?;
            kubectl::provide()?;
            kubectl::provide_old()?;
            kubectl::provide_python_client()?;
            Ok(ExitCode::SUCCESS)
        }
        "images" => {
            setup::run()?;
            let dir = images::assemble()?;
            println!("{}", dir.display());
            Ok(ExitCode::SUCCESS)
        }
        "test" => test::run(&args),
        "demo" => demo::run(&args),
        // What `demo` starts in a mount namespace of its own.
        "demo-inside" => demo::run_inside(&args),
        "soak" => soak::run(&args),
        "mutants" => mutants::run(&args),
        "bench" => bench::run(&args),
        "bench-inside" => bench::run_inside(&args),
        "adopt" => adopt::run(&args),
        "vm" => vm::run(&args),
        "" | "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("there is no command {unknown:?}\n{USAGE}"),
    }
}
