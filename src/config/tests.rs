use super::*;

fn sources(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str, &str)],
) -> (Sources, Option<tempfile::TempDir>) {
    let pair = |(a, b): &(&str, &str)| (a.to_string(), b.to_string());
    let dir = (!file.is_empty()).then(|| tempfile::tempdir().unwrap());
    let path = dir.as_ref().map(|d| {
        let path = d.path().join("my.toml");
        std::fs::write(&path, file).unwrap();
        path
    });
    let flags = flags
        .iter()
        .map(|(k, v, f)| (k.to_string(), v.to_string(), f.to_string()))
        .collect();
    let variables = variables.iter().map(pair).collect();
    (
        Sources {
            file: path,
            variables,
            flags,
        },
        dir,
    )
}

/// The error that `file` gives, without the folder that the test made.
#[track_caller]
fn check(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str, &str)], message: &str) {
    let (sources, dir) = sources(file, variables, flags);
    let error = load(&sources).unwrap_err().to_string();
    let error = dir.map_or(error.clone(), |d| {
        error.replace(&format!("{}/", d.path().display()), "")
    });
    assert_eq!(error, message);
}

const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

#[test]
fn the_file_of_defaults_is_the_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    let (sources, _dir) = sources(DEFAULT_TOML, &[], &[]);
    assert_eq!(load(&sources).unwrap().settings, Settings::default());
}

#[test]
fn the_file_of_defaults_is_what_the_declarations_say() {
    assert!(
        default_toml().unwrap() == DEFAULT_TOML,
        "config/default.toml is stale; write it with `cargo run -- config --default > config/default.toml`"
    );
}

#[test]
fn every_default_has_a_comment_above_it() {
    let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
    for (i, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, l)| l.contains(" = ") && !l.starts_with('#'))
    {
        assert!(lines[i - 1].starts_with('#'), "no comment above `{line}`");
    }
}

#[test]
fn a_flag_wins_over_a_variable_over_a_file() {
    let (sources, _dir) = sources(
        "[server]\nlisten = \"127.0.0.1:1\"\ntop_k = 2\ndrain_delay_ms = 7\n",
        &[
            ("REPSERVE__SERVER__LISTEN", "127.0.0.1:2"),
            ("REPSERVE__SERVER__TOP_K", "3"),
            ("HOME", "/"),
        ],
        &[("server.listen", "127.0.0.1:3", "--listen")],
    );
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.settings.server.listen.port(), 3);
    assert_eq!(loaded.settings.server.top_k, 3);
    assert_eq!(loaded.settings.server.drain_delay_ms, 7);
    let shown = as_toml(&loaded.layers);
    assert!(shown.contains("# flag --listen"), "{shown}");
    assert!(shown.contains("# variable REPSERVE__SERVER__TOP_K"), "{shown}");
    assert!(shown.contains("my.toml:4"), "{shown}");
    assert!(shown.contains("# default"), "{shown}");
}

#[test]
fn what_is_shown_can_be_read_back() {
    let loaded = load(&Sources::default()).unwrap();
    let (sources, _dir) = sources(&as_toml(&loaded.layers), &[], &[]);
    assert_eq!(load(&sources).unwrap().settings, loaded.settings);
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    check(
        "[server]\n\nlisten_on = \"x\"\n",
        &[],
        &[],
        "unknown key `server.listen_on` (my.toml:3); did you mean `server.listen`?",
    );
    check(
        "top_k = 3\n",
        &[],
        &[],
        "unknown key `top_k` (my.toml:1); did you mean `server.top_k`?",
    );
    check(
        "",
        &[("REPSERVE__SERVER__TOPK", "3")],
        &[],
        "unknown key `server.topk` (variable REPSERVE__SERVER__TOPK); did you mean `server.top_k`?",
    );
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    check(
        "[server]\ntop_k = \"five\"\n",
        &[],
        &[],
        "`server.top_k` (my.toml:2): wants a whole number (at least 1), found a string (\"five\")",
    );
    check(
        "",
        &[("REPSERVE__SERVER__TOP_K", "five")],
        &[],
        "`server.top_k` (variable REPSERVE__SERVER__TOP_K): wants a whole number (at least 1), found a string (\"five\")",
    );
}

#[test]
fn a_whole_number_beyond_64_bits_is_named_with_its_place() {
    const NUMBER: &str = "99999999999999999999";
    const FOUND: &str = "found a whole number beyond the range of 64 bits (99999999999999999999)";
    let wants = |place: &str| format!("`server.top_k` ({place}): wants a whole number (at least 1), {FOUND}");
    check(&format!("[server]\ntop_k = {NUMBER}\n"), &[], &[], &wants("my.toml:2"));
    check(&format!("\nserver.top_k = {NUMBER}\n"), &[], &[], &wants("my.toml:2"));
    check(
        &format!("server = {{ top_k = {NUMBER} }}\n"),
        &[],
        &[],
        &wants("my.toml:1"),
    );
    check(
        "",
        &[("REPSERVE__SERVER__TOP_K", NUMBER)],
        &[],
        &wants("variable REPSERVE__SERVER__TOP_K"),
    );
    check("", &[], &[("server.top_k", NUMBER, "--set")], &wants("flag --set"));
    let origins = Settings::wants("server.cors_origins").unwrap();
    check(
        &format!("[server]\ncors_origins = [1, {NUMBER}]\n"),
        &[],
        &[],
        &format!("`server.cors_origins` (my.toml:2): wants {origins}, {FOUND}"),
    );
    check(
        &format!("[zebra]\nx = {NUMBER}\n"),
        &[],
        &[],
        "unknown key `zebra.x` (my.toml:2); a key is `section.key`, of the sections batch, cache, decode, limits, log, model, models, quantize, runtime, security, server, trace, verify; `repserve config --default` says what each is for",
    );
}

#[test]
fn a_key_that_nothing_is_near_to_names_those_there_are() {
    let described = "`repserve config --default` says what each is for";
    let (decode, sections) = (
        "[decode] has the keys jpeg",
        "a key is `section.key`, of the sections batch, cache, decode, limits, log, model, models, quantize, runtime, security, server, trace, verify",
    );
    let check = |file: &str, variables: &[(&str, &str)], flags: &[(&str, &str, &str)], message: &str, hint: &str| {
        check(file, variables, flags, &format!("{message}; {hint}; {described}"));
    };
    check(
        "[decode]\nthreads_max = 3\n",
        &[],
        &[],
        "unknown key `decode.threads_max` (my.toml:2)",
        decode,
    );
    check("decode = 3\n", &[], &[], "unknown key `decode` (my.toml:1)", decode);
    check(
        "[zebra]\nx = 3\n",
        &[],
        &[],
        "unknown key `zebra.x` (my.toml:2)",
        sections,
    );
    let variable = ("REPSERVE__ZEBRA", "1");
    check(
        "",
        &[variable],
        &[],
        "unknown key `zebra` (variable REPSERVE__ZEBRA)",
        sections,
    );
    check("", &[], &[("", "1", "--set")], "unknown key `` (flag --set)", sections);
}

#[test]
fn a_variable_with_too_few_underscores_is_refused() {
    let check = |name: &str| {
        let message = format!("the variable {name} sets nothing; it is written REPSERVE__SERVER__TOP_K");
        check("", &[(name, "3")], &[], &message);
    };
    check("REPSERVE_SERVER__TOP_K");
    check("REPSERVE_SERVER_TOP_K");
    check("repserve__server__top_k");
    // Kubernetes sets such for a service of that name.
    let (sources, _dir) = sources(
        "",
        &[
            ("REPSERVE_SERVICE_HOST", "10.0.0.1"),
            ("REPSERVE_PORT", "tcp://10.0.0.1:80"),
        ],
        &[],
    );
    assert_eq!(load(&sources).unwrap().settings, Settings::default());
}

#[test]
fn a_wrong_type_names_the_words_that_are_allowed() {
    check(
        "[runtime]\nkernels = false\n",
        &[],
        &[],
        "`runtime.kernels` (my.toml:2): wants one of `auto`, `on`, `off`, found true or false (false)",
    );
    check(
        "[runtime]\nplan = 3\n",
        &[],
        &[],
        "`runtime.plan` (my.toml:2): wants `auto` or `explicit`, found a whole number (3)",
    );
    check(
        "",
        &[("REPSERVE__RUNTIME__KERNELS", "false")],
        &[],
        "`runtime.kernels` (variable REPSERVE__RUNTIME__KERNELS): wants one of `auto`, `on`, `off`, found \"false\"",
    );
    check(
        "[log]\nlevel = 3\n",
        &[],
        &[],
        "`log.level` (my.toml:2): wants a string (error, warn, info, debug, trace or off, or a list such as \"info,repserve::http=debug\"), \
         found a whole number (3)",
    );
}

#[test]
fn a_key_of_another_name_names_the_new_one() {
    let message = |place: &str| format!("`runtime.winograd` ({place}) is called `runtime.kernels` now");
    check("[runtime]\nwinograd = \"off\"\n", &[], &[], &message("my.toml:2"));
    let variable = ("REPSERVE__RUNTIME__WINOGRAD", "off");
    check("", &[variable], &[], &message("variable REPSERVE__RUNTIME__WINOGRAD"));
    let flag = ("runtime.winograd", "off", "--set");
    check("", &[], &[flag], &message("flag --set"));
}

#[test]
fn an_impossible_value_is_named_with_its_place() {
    check(
        "[server]\ntop_k = 0\n",
        &[],
        &[],
        "`server.top_k` (my.toml:2): wants a whole number (at least 1), found 0",
    );
    check(
        "",
        &[("REPSERVE__SERVER__TOP_K", "-1")],
        &[],
        "`server.top_k` (variable REPSERVE__SERVER__TOP_K): wants a whole number (at least 1), found -1",
    );
    check(
        "",
        &[],
        &[("server.listen", "nowhere", "--listen")],
        "`server.listen` (flag --listen): wants a string (an address, or a name that can be resolved, and a port, such as 127.0.0.1:8080 or localhost:8080), found \"nowhere\"",
    );
    check(
        "",
        &[],
        &[("model.precision", "int4", "--precision")],
        "`model.precision` (flag --precision): wants one of `model`, `fp32`, `int8`, `auto`, found \"int4\"",
    );
    check(
        "[limits]\nrequest_bytes_max = 10\n",
        &[],
        &[],
        "`limits.request_bytes_max` (my.toml:2): wants a whole number (at least limits.image_bytes_max), found 10",
    );
    check(
        "",
        &[],
        &[("log.level", "loud=quiet=7", "--set")],
        "`log.level` (flag --set): wants a string (error, warn, info, debug, trace or off, or a list such as \"info,repserve::http=debug\"), \
         found \"loud=quiet=7\"",
    );
}

#[test]
fn a_value_that_other_keys_or_memory_bound_names_them() {
    check(
        "[limits]\ndecode_bytes_max = 1\n",
        &[],
        &[],
        "`limits.decode_bytes_max` (my.toml:2): \
         wants a whole number (0: from the memory there is, or at least 16777216), found 1",
    );
    check(
        "[limits]\nbodies_bytes_max = 1\n",
        &[],
        &[],
        "`limits.bodies_bytes_max` (my.toml:2): \
         wants a whole number (0: from the memory there is, or at least limits.request_bytes_max), found 1",
    );
    check(
        "",
        &[],
        &[("security.tls_key_file", "key.pem", "--set")],
        "`security.tls_key_file` (flag --set): \
         wants a string (given where security.tls_certificate_file is, and only there), found \"key.pem\"",
    );
    check(
        "[trace]\nsample_ratio = nan\n",
        &[],
        &[],
        "`trace.sample_ratio` (my.toml:2): wants a number (0 to 1), found NaN",
    );
    check(
        "[server]\nadmin_listen = \"9090\"\n",
        &[],
        &[],
        "`server.admin_listen` (my.toml:2): \
         wants a string (an address, or a name that can be resolved, and a port, such as 127.0.0.1:9090; or empty), found \"9090\"",
    );
    check(
        "[server]\ndrain_limit_ms = 86400001\n",
        &[],
        &[],
        "`server.drain_limit_ms` (my.toml:2): wants a whole number (0 to 86400000, a day), found 86400001",
    );
}

#[test]
fn proxies_and_the_header_in_which_they_name_clients_go_together() {
    let header = "wants a string (a header's name other than \"forwarded\", given where server.trusted_proxies is, and only there), found";
    let proxies = "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n";
    check(
        "[server]\nclient_header = \"x-forwarded-for\"\n",
        &[],
        &[],
        &format!("`server.client_header` (my.toml:2): {header} \"x-forwarded-for\""),
    );
    check(
        proxies,
        &[],
        &[],
        &format!("`server.client_header` (default): {header} \"\""),
    );
    for refused in ["forwarded", "x forwarded"] {
        check(
            &format!("{proxies}client_header = \"{refused}\"\n"),
            &[],
            &[],
            &format!("`server.client_header` (my.toml:3): {header} \"{refused}\""),
        );
    }
    check(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"proxy.example\"]\n",
        &[],
        &[],
        "`server.trusted_proxies` (my.toml:2): wants an array (addresses and networks, such as [\"10.0.0.0/8\", \"::1\"]), \
         found [\"10.0.0.0/8\", \"proxy.example\"]",
    );
    let (sources, _dir) = sources(&format!("{proxies}client_header = \"X-Forwarded-For\"\n"), &[], &[]);
    let settings = load(&sources).unwrap().settings;
    let written: Vec<_> = settings
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(written, ["10.0.0.0/8", "::1/128"]);
}

#[test]
fn every_key_takes_its_default_and_says_what_it_wants() {
    Settings::default().check().unwrap();
    for (key, entry) in load(&Sources::default()).unwrap().layers.entries() {
        let wants = Settings::wants(key).unwrap();
        assert_ne!(wants, "a value", "{key} = {}", entry.value);
    }
}

#[test]
fn broken_toml_and_a_missing_file_are_clear() {
    check(
        "[server]\ntop_k = \n",
        &[],
        &[],
        "my.toml:2: not valid TOML: string values must be quoted, expected literal string",
    );
    let sources = Sources {
        file: Some("/nowhere/my.toml".into()),
        ..Sources::default()
    };
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "cannot read the configuration file /nowhere/my.toml: No such file or directory (os error 2)"
    );
}
