//! Settings as a user meets them.

use crate::support::binary::{check_error, repserve, run, stderr, stdout};

#[test]
fn what_is_wrong_is_one_line_and_exit_code_2() {
    check_error(
        &run(&["serve", "--set", "server.top_kk=3"]),
        2,
        "unknown key `server.top_kk` (flag --set); did you mean `server.top_k`?",
    );
    check_error(
        &repserve(&["serve"])
            .env("REPSERVE__SERVER__TOP_K", "many")
            .output()
            .unwrap(),
        2,
        "`server.top_k` (variable REPSERVE__SERVER__TOP_K): wants a whole number (at least 1), found a string (\"many\")",
    );
    check_error(
        &run(&["serve", "--listen", "here"]),
        2,
        "`server.listen` (flag --listen): wants a string (an address, or a name that can be resolved, and a port, such as 127.0.0.1:8080 or localhost:8080), found \"here\"",
    );
    check_error(
        &run(&["config", "--config", "/nowhere.toml"]),
        2,
        "cannot read the configuration file /nowhere.toml: No such file or directory",
    );
    check_error(
        &run(&["serve", "--set", "server.top_k"]),
        2,
        "invalid value 'server.top_k' for '--set <KEY=VALUE>': must be KEY=VALUE (try --help)",
    );
}

#[test]
fn what_is_in_force_is_shown_with_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.toml");
    std::fs::write(&file, "[batch]\nqueue_capacity = 7\n").unwrap();
    let output = repserve(&["config", "--set", "log.level=debug"])
        .env("REPSERVE_CONFIG", &file)
        .env("REPSERVE__SERVER__TOP_K", "3")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    let line = |start: &str| {
        let found = shown.lines().find(|l| l.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start} in {shown}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        line("queue_capacity"),
        format!("queue_capacity = 7 # {}:2", file.display())
    );
    assert_eq!(line("top_k"), "top_k = 3 # variable REPSERVE__SERVER__TOP_K");
    assert_eq!(line("level"), "level = \"debug\" # flag --set");
    assert_eq!(line("format"), "format = \"text\" # default");
}

#[test]
fn the_file_of_defaults_is_printed_whatever_is_in_force() {
    let output = repserve(&["config", "--default"])
        .env("REPSERVE_CONFIG", "/nowhere.toml")
        .env("REPSERVE__SERVER__TOP_K", "3")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), include_str!("../../config/default.toml"));
}
