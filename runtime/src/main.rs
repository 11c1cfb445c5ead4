//! `sagitta`: arguments in, exit code out.

use clap::Parser;
use sagitta::command::CommandLine;

fn main() -> std::process::ExitCode {
    CommandLine::parse().run()
}
