//! Vectors of RFC 5802, RFC 7677 and RFC 4013, and servers that cheat.

use super::*;

const NONCE_256: &str = "rOprNGfwEbeRWgbNEkqO";

/// A SCRAM exchange whose client-first has been sent.
fn scram(mechanism: Mechanism, nonce: &str, credentials: &Credentials) -> Exchange {
    let mut exchange = mechanism
        .start(credentials, &binding(nonce))
        .expect("usable");
    exchange.initial_response().expect("a client-first");
    exchange
}

const FIRST_SHA1: &[u8] = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";

#[test]
fn scram_sha_1_rfc_5802() {
    let user = credentials("user", "pencil");
    assert_eq!(
        initial(Mechanism::ScramSha1, &user),
        "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    );
    let mut exchange = scram(Mechanism::ScramSha1, NONCE, &user);
    assert_eq!(exchange.finished_ok(), Err(SaslError::ServerNotProven));
    assert_eq!(
        exchange.respond(FIRST_SHA1).map(text).as_deref(),
        Ok("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
    );
    assert_eq!(
        exchange.finished_ok(),
        Err(SaslError::ServerNotProven),
        "235 too early"
    );
    let done = exchange
        .respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
        .map(text);
    assert_eq!(done.as_deref(), Ok(""));
    assert_eq!(exchange.finished_ok(), Ok(()));
    assert!(is_bad(exchange.respond(b"")));
}

const FIRST_SHA256: &[u8] =
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

#[test]
fn scram_sha_256_rfc_7677() {
    let mut exchange = scram(
        Mechanism::ScramSha256,
        NONCE_256,
        &credentials("user", "pencil"),
    );
    assert_eq!(
        exchange.respond(FIRST_SHA256).map(text).as_deref(),
        Ok(
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        )
    );
    let done = exchange.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,x=ignored");
    assert_eq!(done.map(text).as_deref(), Ok(""));
    assert_eq!(exchange.finished_ok(), Ok(()));
}

/// RFC 5802 has no example with channel binding; this one was computed with
/// `hashlib.pbkdf2_hmac` and `hmac` of Python. The user name and the password
/// come decomposed, and the server-first has an extension to be ignored.
#[test]
fn scram_sha_256_plus_with_authzid_and_preparation() {
    let user = acting_for("o,x", "ju\u{308}rgen", "pa\u{308}ssword");
    let channel_binding = ChannelBinding::TlsServerEndPoint(&[0xAB; 32]);
    let binding = Binding {
        channel_binding,
        ..binding(NONCE)
    };
    let mut exchange = Mechanism::ScramSha256Plus
        .start(&user, &binding)
        .expect("usable");
    assert_eq!(
        exchange.initial_response().map(text).as_deref(),
        Some("p=tls-server-end-point,a=o=2Cx,n=jürgen,r=fyko+d2lbbFgONRv9qkxdawL")
    );
    assert_eq!(
        exchange
            .respond(b"r=fyko+d2lbbFgONRv9qkxdawLSERVER,s=AAECAwQFBgcICQoLDA0ODw==,i=5000,x=ext")
            .map(text)
            .as_deref(),
        Ok(
            "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCxhPW89MkN4LKurq6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur,r=fyko+d2lbbFgONRv9qkxdawLSERVER,p=M1795g6wfckFh9d1O3k1qlFR3nrtq7ndP2q19xo0WGQ="
        )
    );
    assert_eq!(
        exchange
            .respond(b"v=6g94CyYsjg8WUwQPDQlr4qnLwsbVlitUVarWO6nPUBM=")
            .map(text)
            .as_deref(),
        Ok("")
    );
    assert_eq!(exchange.finished_ok(), Ok(()));
}

#[test]
fn scram_server_that_does_not_know_the_password() {
    for (server_final, expected) in [
        ("v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", SaslError::ServerNotProven),
        ("v=", SaslError::ServerNotProven),
        ("v=rmF9pqV8S7suAoZWja4dJRkFsA==", SaslError::ServerNotProven),
        (
            "e=invalid-proof",
            SaslError::Refused("invalid-proof".into()),
        ),
        ("e=\x1b[2J", SaslError::Refused("^[[2J".into())),
        ("v=!", bad("its signature is not base64")),
        ("", bad("v= is missing")),
    ] {
        let mut exchange = scram(Mechanism::ScramSha1, NONCE, &credentials("user", "pencil"));
        exchange.respond(FIRST_SHA1).expect("a client-final");
        assert_eq!(
            exchange.respond(server_final.as_bytes()),
            Err(expected),
            "{server_final}"
        );
        let good = exchange.respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
        assert!(is_bad(good), "no second try after {server_final}");
        assert_eq!(exchange.finished_ok(), Err(SaslError::ServerNotProven));
    }
}

#[test]
fn scram_bad_server_first() {
    let r = "r=fyko+d2lbbFgONRv9qkxdawLx";
    for server_first in [
        "".to_string(),
        "r=fyko+d2lbbFgONRv9qkxdawL,s=QQ==,i=4096".to_string(),
        "r=other+d2lbbFgONRv9qkxdawLx,s=QQ==,i=4096".to_string(),
        format!("{r}\x7f,s=QQ==,i=4096"),
        format!("m=x,{r},s=QQ==,i=4096"),
        format!("s=QQ==,{r},i=4096"),
        format!("{r},s=QQ=="),
        format!("{r},s=QQ,i=4096"),
        format!("{r},s=,i=4096"),
        format!("{r},s=QQ==,i="),
        format!("{r},s=QQ==,i=x"),
        format!("{r},s=QQ==,i=+4096"),
        format!("{r},s=QQ==,i=-1"),
        format!("{r},s=QQ==,i=0"),
        format!("{r},s=QQ==,i=4095"),
        format!("{r},s=QQ==,i=2000001"),
        format!("{r},s=QQ==,i=99999999999999999999"),
    ] {
        let mut exchange = scram(Mechanism::ScramSha1, NONCE, &credentials("user", "pencil"));
        assert!(
            is_bad(exchange.respond(server_first.as_bytes())),
            "{server_first}"
        );
        assert!(
            is_bad(exchange.respond(FIRST_SHA1)),
            "no second try after {server_first}"
        );
    }
    let mut exchange = scram(Mechanism::ScramSha1, NONCE, &credentials("user", "pencil"));
    assert!(is_bad(exchange.respond(b"r=\xff")));
}

#[test]
fn scram_says_what_is_wrong_with_the_iteration_count() {
    for (iterations, expected) in [
        ("", "its iteration count is no number"),
        ("+4096", "its iteration count is no number"),
        ("4095", "its iteration count is too low to be safe"),
        ("2000001", "its iteration count is too high"),
        ("99999999999999999999", "its iteration count is too high"),
    ] {
        let mut exchange = scram(Mechanism::ScramSha1, NONCE, &credentials("user", "pencil"));
        let first = format!("r=fyko+d2lbbFgONRv9qkxdawLx,s=QQ==,i={iterations}");
        let error = exchange.respond(first.as_bytes()).map(text);
        assert_eq!(error, Err(bad(expected)), "{iterations}");
    }
}

#[test]
fn scram_channel_binding_flags() {
    let user = credentials("user", "pencil");
    let data: &[u8] = &[0xAB; 32];
    let bound = |mechanism: Mechanism, channel_binding| {
        let binding = Binding {
            channel_binding,
            ..binding(NONCE)
        };
        let mut exchange = mechanism.start(&user, &binding)?;
        let first = text(exchange.initial_response().expect("a client-first"));
        let last = text(exchange.respond(FIRST_SHA1).expect("a client-final"));
        let channel = last
            .strip_prefix("c=")
            .and_then(|l| l.split(',').next())
            .expect("c=");
        let channel = decode_challenge(channel.as_bytes()).expect("base64");
        Ok::<_, SaslError>((first, channel))
    };
    let expect = |flag: &str, data: &[u8]| {
        let first = format!("{flag},,n=user,r={NONCE}");
        Ok((first, [flag.as_bytes(), b",,", data].concat()))
    };
    for (plain, plus) in [
        (Mechanism::ScramSha1, Mechanism::ScramSha1Plus),
        (Mechanism::ScramSha256, Mechanism::ScramSha256Plus),
    ] {
        let end_point = ChannelBinding::TlsServerEndPoint(data);
        assert_eq!(bound(plain, ChannelBinding::Unsupported), expect("n", b""));
        assert_eq!(bound(plain, ChannelBinding::NotOffered), expect("y", b""));
        assert_eq!(bound(plain, end_point), expect("y", b""));
        assert_eq!(
            bound(plus, end_point),
            expect("p=tls-server-end-point", data)
        );
        for missing in [
            ChannelBinding::Unsupported,
            ChannelBinding::NotOffered,
            ChannelBinding::TlsServerEndPoint(b""),
        ] {
            let error = bound(plus, missing).expect_err("nothing to bind to");
            assert!(matches!(error, SaslError::UnusableBinding(_)));
        }
    }
}

#[test]
fn scram_names_are_prepared_and_escaped() {
    let first = |user: &str| initial(Mechanism::ScramSha1, &credentials(user, "x"));
    assert_eq!(first("a=b,c"), format!("n,,n=a=3Db=2Cc,r={NONCE}"));
    // RFC 4013 §3, examples 1, 3, 4, 5.
    assert_eq!(first("I\u{AD}X"), format!("n,,n=IX,r={NONCE}"));
    assert_eq!(first("USER"), format!("n,,n=USER,r={NONCE}"));
    assert_eq!(first("\u{AA}"), format!("n,,n=a,r={NONCE}"));
    assert_eq!(first("\u{2168}"), format!("n,,n=IX,r={NONCE}"));
    let for_other = initial(Mechanism::ScramSha1, &acting_for("o,x", "user", "x"));
    assert_eq!(for_other, format!("n,a=o=2Cx,n=user,r={NONCE}"));
    // Examples 6 and 7, for the user name and the password.
    for prohibited in ["\u{7}", "\u{627}1"] {
        for user in [credentials(prohibited, "x"), credentials("x", prohibited)] {
            let error = Mechanism::ScramSha256
                .start(&user, &binding(NONCE))
                .expect_err("prohibited");
            assert!(matches!(error, SaslError::UnusableCredentials(_)));
            assert!(
                !format!("{error} {error:?}").contains(prohibited),
                "a character is shown"
            );
        }
    }
    let nothing_left = Mechanism::ScramSha1.start(&credentials("\u{AD}", "x"), &binding(NONCE));
    assert!(nothing_left.is_err());
}

#[test]
fn scram_password_is_prepared() {
    let answer = |password: &str| {
        scram(Mechanism::ScramSha1, NONCE, &credentials("user", password)).respond(FIRST_SHA1)
    };
    assert_eq!(answer("pen\u{AD}cil"), answer("pencil"));
    assert_ne!(answer("Pencil"), answer("pencil"));
}

#[test]
fn scram_nonces_that_are_none() {
    let long = "x".repeat(129);
    for nonce in [
        "",
        "short",
        "with,comma,with,comma",
        "with space with space",
        &long,
    ] {
        let error = Mechanism::ScramSha1.start(&credentials("u", "x"), &binding(nonce));
        assert!(
            matches!(error, Err(SaslError::UnusableBinding(_))),
            "{nonce}"
        );
    }
}

/// Measures; run with `cargo test --release --lib -- --ignored --nocapture rounds`.
#[test]
#[ignore = "measures the speed of a release build"]
fn the_most_rounds_take_about_a_second() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        let mut exchange = scram(mechanism, NONCE, &credentials("user", "pencil"));
        let started = std::time::Instant::now();
        exchange
            .respond(format!("r={NONCE}x,s=QQ==,i=2000000").as_bytes())
            .expect("allowed");
        let elapsed = started.elapsed();
        println!("{}: {elapsed:?}", mechanism.keyword());
        assert!(
            elapsed.as_secs_f64() < 3.0,
            "{} takes {elapsed:?}",
            mechanism.keyword()
        );
    }
}
