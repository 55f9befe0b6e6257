//! The command line: one file a subcommand, each with its arguments and `run`.
//!
//! Exit codes: 0 done, 1 something failed, 2 the command line or the configuration is wrong. An error is one line on stderr.

mod bench;
mod calibrate;
mod classify;
mod compile;
mod completions;
mod config;
mod convert;
mod eval;
mod exit_code;
mod health;
mod init;
mod inspect;
mod labelled;
mod man;
mod model_file;
mod out_file;
mod output;
mod probe;
mod report;
mod serve;
mod settings;
mod value;

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use crate::config::ConfigError;

pub use exit_code::ExitCode;

/// Serves convolutional classifiers: fuses train-time ONNX graphs into their deploy form, verifies that the two are equal,
/// batches requests and serves them over HTTP.
#[derive(Debug, Parser)]
#[command(name = "repserve", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Convert(convert::Args),
    Compile(compile::Args),
    Init(init::Args),
    Inspect(inspect::Args),
    Classify(classify::Args),
    Calibrate(calibrate::Args),
    Eval(eval::Args),
    Config(config::Args),
    Health(health::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What a subcommand returns where it ran to its end: whether all went well.
type Outcome = anyhow::Result<ExitCode>;

/// Parses the arguments and runs the subcommand.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args),
    };
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        if output::pipe_closed(&error) {
            return ExitCode::SUCCESS;
        }
        output::complain_at_last(&format!("{error:#}"));
        failure(&error)
    })
}

/// The exit code of an error.
fn failure(error: &anyhow::Error) -> ExitCode {
    let wrong_configuration = error.downcast_ref::<ConfigError>().is_some();
    if wrong_configuration {
        ExitCode::USAGE
    } else {
        ExitCode::FAILURE
    }
}

/// Help and version are printed as requested; everything else is one line and exit code 2.
fn usage(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::USAGE;
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let meant = served_with(args).or_else(|| suggestion(error).map(str::to_owned));
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean '{meant}'?"));
    output::complain(&format!("{first}{meant} (try --help)"));
    ExitCode::USAGE
}

/// The command line of `serve` where one was written without that word.
fn served_with(args: &[OsString]) -> Option<String> {
    let (_, given) = args.split_first()?;
    let first = given.first()?;
    let inserted: &[&str] = if first.as_encoded_bytes().starts_with(b"-") {
        &["repserve", "serve"]
    } else if Path::new(first).exists() {
        &["repserve", "serve", "--model"]
    } else {
        return None;
    };
    let words: Vec<OsString> = inserted
        .iter()
        .map(OsString::from)
        .chain(given.iter().cloned())
        .collect();
    Cli::try_parse_from(&words).ok()?;
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    Some(words.join(" "))
}

/// Flags that other servers have, and what does the same here.
const ELSEWHERE: [(&str, &str); 6] = [
    ("--port", "--listen 127.0.0.1:PORT"),
    ("-p", "--listen 127.0.0.1:PORT"),
    ("--host", "--listen HOST:PORT"),
    ("--bind", "--listen HOST:PORT"),
    ("--grpc-port", "--set server.grpc_listen=127.0.0.1:PORT"),
    ("--model-repository", "--models DIR"),
];

/// The flag, subcommand or value that is nearest to one that does not exist.
fn suggestion(error: &clap::Error) -> Option<&str> {
    if let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg)
        && let Some((_, here)) = ELSEWHERE.iter().find(|(there, _)| there == unknown)
    {
        return Some(here);
    }
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.as_str()),
        ContextValue::Strings(all) => all.first().map(String::as_str),
        _ => None,
    })
}
