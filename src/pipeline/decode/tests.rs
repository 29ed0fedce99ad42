//! What decoding accepts, and what it calls the rest.

use super::*;

fn fields() -> JsonFields {
    let at = |pointer: &str| pointer.to_string();
    JsonFields {
        instrument: at("/s"),
        time: at("/t"),
        time_unit: TimeUnit::Ms,
        kind: at("/kind"),
        trade_values: vec!["trade".into(), "T".into()],
        quote_values: vec!["quote".into()],
        price: at("/price"),
        size: at("/size"),
        bid: at("/book/bids/0/0"),
        ask: at("/book/asks/0/0"),
        bid_size: at("/book/bids/0/1"),
        ask_size: at("/book/asks/0/1"),
        sequence: at("/seq"),
    }
}

fn decoder(format: Format, json: JsonFields) -> Decoder {
    let config = DecodeConfig {
        format,
        json,
        record_bytes_max: 1024,
        instrument_bytes_max: 16,
        year_min: 1990,
        year_max: 2100,
    };
    Decoder::new(&config).unwrap()
}

fn json(payload: &str) -> Result<Decoded<'_>, TickError> {
    decoder(Format::Json, fields()).decode(None, Some(payload.as_bytes()))
}

#[test]
fn trade_with_numbers_as_text_and_numbers_is_the_same() {
    let text = json(r#"{"s":"A","t":"1700000000000","kind":"T","price":"10.5","size":"3","seq":7}"#).unwrap();
    let numbers = json(r#"{"s":"A","x":{"y":[1,2]},"t":1700000000000,"kind":"trade","price":10.5,"size":3,"seq":"7"}"#);
    assert_eq!(Ok(text.clone()), numbers);
    assert_eq!(text.tick.event_time, EventTime(1_700_000_000_000_000_000));
    assert_eq!(text.tick.sequence, Some(7));
    assert_eq!(
        text.tick.body,
        Body::Trade(Trade {
            price: 10.5,
            size: Some(3.0)
        })
    );
}

#[test]
fn nested_pointers_reach_into_arrays() {
    let payload = r#"{"s":"A\u0042","t":1700000000000,"kind":"quote",
        "book":{"bids":[["10.1",5],[10.0,1]],"asks":[[10.2,"6"]]},"size":null}"#;
    let decoded = json(payload).unwrap();
    assert_eq!(decoded.instrument, "AB");
    let quote = Quote {
        bid: 10.1,
        ask: 10.2,
        bid_size: Some(5.0),
        ask_size: Some(6.0),
    };
    assert_eq!(decoded.tick.body, Body::Quote(quote));
}

#[test]
fn every_time_unit_gives_the_same_stamp() {
    let units = [
        (TimeUnit::S, "1700000000.25"),
        (TimeUnit::Ms, "1700000000250"),
        (TimeUnit::Us, "1700000000250000"),
        (TimeUnit::Ns, "1700000000250000000"),
        (TimeUnit::Rfc3339, "\"2023-11-14T22:13:20.25Z\""),
    ];
    for (unit, stamp) in units {
        let payload = format!(r#"{{"s":"A","t":{stamp},"kind":"T","price":1}}"#);
        let decoder = decoder(
            Format::Json,
            JsonFields {
                time_unit: unit,
                ..fields()
            },
        );
        let tick = decoder.decode(None, Some(payload.as_bytes())).unwrap().tick;
        assert_eq!(tick.event_time, EventTime(1_700_000_000_250_000_000), "{unit:?}");
    }
}

#[test]
fn each_bad_record_has_its_own_reason() {
    let cases = [
        (r#"{"s":"A","t":1700000000000,"kind":"T","price":NaN}"#, "not_json"),
        (r#"{"s":"A","t":1700000000000,"kind":"T","price":"NaN"}"#, "bad_number"),
        (r#"{"s":"A","t":1700000000000,"kind":"T","price":true}"#, "bad_number"),
        (r#"{"s":"A","t":1700000000000,"kind":"T","price":1e999}"#, "not_json"),
        (r#"{"s":"A","t":1700000000000,"kind":"T"}"#, "missing_field"),
        (r#"{"s":"A","kind":"T","price":1}"#, "missing_field"),
        (r#"{"t":1700000000000,"kind":"T","price":1}"#, "missing_field"),
        (r#"{"s":"A","t":1700000000000,"price":1}"#, "missing_field"),
        (
            r#"{"s":"A","t":1700000000000,"kind":"T","price":1,"size":-1}"#,
            "negative_size",
        ),
        (r#"{"s":"A","t":17,"kind":"T","price":1}"#, "absurd_time"),
        (r#"{"s":"A","t":9e30,"kind":"T","price":1}"#, "bad_time"),
        (r#"{"s":"A","t":"noon","kind":"T","price":1}"#, "bad_time"),
        (r#"{"s":"A","t":1700000000000,"kind":"X","price":1}"#, "bad_kind"),
        (r#"{"s":"","t":1700000000000,"kind":"T","price":1}"#, "bad_instrument"),
        (
            r#"{"s":"ABCDEFGHIJKLMNOPQ","t":1700000000000,"kind":"T","price":1}"#,
            "bad_instrument",
        ),
        (r#"{"s":"A","t":1700000000000,"kind":"T","price":1} x"#, "not_json"),
        ("[", "not_json"),
        ("\u{0}\u{1}", "not_json"),
    ];
    for (payload, reason) in cases {
        assert_eq!(json(payload).unwrap_err().reason(), reason, "{payload}");
    }
    let decoder = decoder(Format::Json, fields());
    assert_eq!(decoder.decode(None, None).unwrap_err(), TickError::Empty);
    assert_eq!(decoder.decode(None, Some(b"")).unwrap_err(), TickError::Empty);
    assert_eq!(
        decoder.decode(None, Some(&[b'x'; 2000])).unwrap_err().reason(),
        "too_large"
    );
}

#[test]
fn record_key_names_the_instrument_where_no_field_does() {
    let decoder = decoder(
        Format::Json,
        JsonFields {
            instrument: String::new(),
            ..fields()
        },
    );
    let payload = br#"{"t":1700000000000,"kind":"T","price":1}"#;
    assert_eq!(decoder.decode(Some(b"KEY"), Some(payload)).unwrap().instrument, "KEY");
    assert_eq!(
        decoder.decode(None, Some(payload)).unwrap_err().reason(),
        "bad_instrument"
    );
    assert_eq!(
        decoder.decode(Some(&[0xff]), Some(payload)).unwrap_err().reason(),
        "bad_instrument"
    );
}

#[test]
fn csv_line_gives_trade_and_quote() {
    let decoder = decoder(Format::Csv, fields());
    let trade = decoder
        .decode(None, Some(b"1700000000000000000,A,trade,1.5,2,,,,\n"))
        .unwrap();
    assert_eq!(
        trade.tick.body,
        Body::Trade(Trade {
            price: 1.5,
            size: Some(2.0)
        })
    );
    let quote = decoder
        .decode(None, Some(b"1700000000000000000,A,quote,,,1,2,,4"))
        .unwrap();
    let body = Quote {
        bid: 1.0,
        ask: 2.0,
        bid_size: None,
        ask_size: Some(4.0),
    };
    assert_eq!(quote.tick.body, Body::Quote(body));
    for (line, reason) in [
        (&b"1700000000000000000,A,trade,1.5,2"[..], "not_csv"),
        (b"1700000000000000000,A,trade,1.5,2,,,,,", "not_csv"),
        (b"\xff\xfe", "not_csv"),
        (
            b"ts_ns,instrument,kind,price,size,bid,ask,bid_size,ask_size",
            "bad_kind",
        ),
        (b"1700000000000000000,A,trade,inf,2,,,,", "bad_number"),
    ] {
        assert_eq!(decoder.decode(None, Some(line)).unwrap_err().reason(), reason);
    }
}

#[test]
fn malformed_pointers_are_named() {
    let problem = |json| {
        let config = DecodeConfig {
            format: Format::Json,
            json,
            record_bytes_max: 1,
            instrument_bytes_max: 1,
            year_min: 1990,
            year_max: 2100,
        };
        Decoder::new(&config).unwrap_err()
    };
    assert!(
        problem(JsonFields {
            price: "price".into(),
            ..fields()
        })
        .starts_with("json.price: ")
    );
    assert!(
        problem(JsonFields {
            ask: "/price".into(),
            ..fields()
        })
        .starts_with("json.ask: ")
    );
    assert!(
        problem(JsonFields {
            time: String::new(),
            ..fields()
        })
        .starts_with("json.time: ")
    );
}
