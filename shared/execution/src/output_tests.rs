use super::*;

/// The text of the log's lines, without their heads.
fn unheaded(sink: &[u8]) -> String {
    let log = std::str::from_utf8(sink).expect("the sink is given UTF-8");
    log.split_inclusive('\n').map(|line| line.split_once("Z] INFO - ").expect("a head").1).collect()
}

/// Gives the chunks one by one to a fresh output and returns it with what its sink got.
async fn taken(chunks: &[&[u8]]) -> (Output, Vec<u8>) {
    let (mut output, mut sink) = (Output::new(Masks::default(), false), Vec::new());
    for chunk in chunks {
        output.take(chunk, &mut sink).await;
    }
    (output, sink)
}

#[tokio::test]
async fn however_it_is_cut_the_text_and_its_last_line_are_the_same() {
    let texts: [&[u8]; 9] = [
        b"",
        b"\n",
        b"one",
        b"one\n",
        b"one\ntwo",
        b"one\ntwo  \n",
        b"one\n\n",
        "grün\u{1f600}\nü".as_bytes(),
        b"bad \xff\xc3\n\xe2\x82end\xf0\x9f",
    ];
    for text in texts {
        let lossy = String::from_utf8_lossy(text).into_owned();
        // Airflow's loop over lines leaves the last one that it read, stripped.
        let expected = lossy.split_inclusive('\n').next_back().unwrap_or_default().trim_end();
        for size in 1..=text.len().max(1) {
            let mut sink = Vec::new();
            let mut output = Output::new(Masks::default(), false);
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            for chunk in chunks {
                output.take(chunk, &mut sink).await;
                assert!(std::str::from_utf8(&sink).is_ok(), "{text:?} in pieces of {size}");
            }
            let (_sender, ended) = watch::channel(false);
            output.pump(&b""[..], &mut sink, ended).await;
            let end = if lossy.is_empty() || lossy.ends_with('\n') { "" } else { "\n" };
            assert_eq!(unheaded(&sink), format!("{lossy}{end}"), "{text:?} in pieces of {size}");
            let whole = text.last().is_none_or(u8::is_ascii);
            if whole {
                assert_eq!(output.last_line().as_deref(), Ok(expected), "{text:?} in pieces of {size}");
            }
        }
    }
}

#[tokio::test]
async fn a_line_too_long_is_none_until_the_next_one() {
    let long = vec![b'x'; LINE_BYTES + 1];
    let (output, _) = taken(&[&long]).await;
    assert_eq!(output.last_line(), Err(LINE_BYTES));
    let (output, _) = taken(&[&long, b"still\n"]).await;
    assert_eq!(output.last_line(), Err(LINE_BYTES));
    let (output, _) = taken(&[&long, b"\nshort"]).await;
    assert_eq!(output.last_line().as_deref(), Ok("short"));
    let (output, _) = taken(&[&long[..LINE_BYTES]]).await;
    assert_eq!(output.last_line().map(|line| line.len()), Ok(LINE_BYTES));
}

#[tokio::test]
async fn the_tail_starts_with_a_character() {
    let text = "ü".repeat(TAIL_BYTES);
    let (output, sink) = taken(&[b"x", text.as_bytes()]).await;
    assert_eq!(unheaded(&sink).len(), 1 + text.len());
    let summary = output.into_summary();
    assert_eq!(summary.tail, "ü".repeat(TAIL_BYTES / 2));
    let (output, _) = taken(&[text.as_bytes(), b"x"]).await;
    assert_eq!(output.into_summary().tail, format!("{}x", "ü".repeat(TAIL_BYTES / 2 - 1)));
}

#[tokio::test]
async fn what_follows_an_unfinished_line_starts_a_new_one() {
    let mut sink = Vec::new();
    let mut output = Output::new(Masks::new(&["no end".to_owned()]), false);
    let (_sender, ended) = watch::channel(true);
    output.pump(&b"there is no end"[..], &mut sink, ended).await;
    output.note(Level::Info, "first\nwithout no end", &mut sink).await;
    assert_eq!(unheaded(&sink), "there is ***\nfirst\nwithout ***\n");
    // What becomes an XCom is the line itself.
    assert_eq!(output.last_line().as_deref(), Ok("there is no end"));
}

#[tokio::test]
async fn a_pipe_that_stays_open_does_not_hold_the_end() {
    let (mut writer, reader) = tokio::io::duplex(1024);
    tokio::io::AsyncWriteExt::write_all(&mut writer, b"last words").await.expect("there is room");
    let (_sender, ended) = watch::channel(true);
    let (mut output, mut sink) = (Output::new(Masks::default(), false), Vec::new());
    output.pump(reader, &mut sink, ended).await;
    assert_eq!(unheaded(&sink), "last words\n");
    drop(writer);
}
