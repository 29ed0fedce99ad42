//! What decoding accepts, and what it calls the rest.

use super::*;
use crate::config::Config;
use crate::pipeline::tick::{Body, Order, Quote, Tick, Trade};
use crate::pipeline::time::{ArrivalTime, EventTime};

/// What a test keeps of an item.
#[derive(Clone, Debug, PartialEq)]
enum Got {
    Tick(String, Tick, Vec<&'static str>),
    Incomplete(String, Option<Sides>),
    Ignored,
    Bad(TickError),
}

impl Got {
    fn tick(&self) -> Tick {
        match self {
            Got::Tick(_, tick, _) => *tick,
            other => panic!("{other:?} is no tick"),
        }
    }

    fn name(&self) -> &str {
        match self {
            Got::Tick(name, ..) | Got::Incomplete(name, _) => name,
            other => panic!("{other:?} has no name"),
        }
    }

    /// Gives the reason of a refusal.
    fn reason(&self) -> &'static str {
        match self {
            Got::Bad(error) => error.reason(),
            other => panic!("{other:?} was read"),
        }
    }
}

fn items(decoder: &Decoder, key: Option<&[u8]>, payload: Option<&[u8]>) -> Vec<Got> {
    let mut got = Vec::new();
    let record = Record {
        arrival_time: ArrivalTime(1_700_000_009_000_000_000),
        key,
        payload,
        ..Record::of_line(&[])
    };
    decoder.decode(&record, &mut |item| {
        got.push(match item.what {
            What::Tick { instrument, tick, odd } => Got::Tick(instrument.into(), tick, odd.names().collect()),
            What::Incomplete { instrument, sides, .. } => Got::Incomplete(instrument.into(), sides),
            What::Ignored => Got::Ignored,
            What::Bad(error) => Got::Bad(error),
        });
    });
    got
}

/// Reads a record that holds one item.
fn one(decoder: &Decoder, key: Option<&[u8]>, payload: Option<&[u8]>) -> Got {
    let got = items(decoder, key, payload);
    assert_eq!(got.len(), 1, "{got:?}");
    got[0].clone()
}

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

fn config(format: Format, json: JsonFields) -> DecodeConfig {
    DecodeConfig {
        format,
        preset: Texts::default(),
        preset_rules: Vec::new(),
        unmatched: Unmatched::DeadLetter,
        json,
        rules: Vec::new(),
        empty_values: Texts(["", "NaN", "9223372036854775807"].map(str::to_owned).to_vec()),
        record_bytes_max: 1024,
        elements_max: 5,
        instrument_bytes_max: 16,
        year_min: 1990,
        year_max: 2100,
    }
}

fn decoder(format: Format, json: JsonFields) -> Decoder {
    Decoder::new(&config(format, json), &["ticks".to_owned()]).unwrap()
}

fn json(payload: &str) -> Got {
    one(&decoder(Format::Json, fields()), None, Some(payload.as_bytes()))
}

/// Makes a decoder of rules as a configuration has them.
fn rules(text: &str) -> Decoder {
    ruled(text, "ticks", "dead_letter").unwrap()
}

fn ruled(text: &str, topic: &str, unmatched: &str) -> Result<Decoder, String> {
    let rules = text.replace("[[rules]]", "[[decode.rules]]");
    let text = format!(
        "[input]\ntopics = [{topic:?}]\n[decode]\nunmatched = {unmatched:?}\nelements_max = 5\n\
         instrument_bytes_max = 16\n{rules}"
    );
    let config = Config::from_toml(&text).map_err(|error| error.to_string())?;
    Decoder::new(&config.decode, &config.input.topics)
}

fn read(decoder: &Decoder, payload: &str) -> Vec<Got> {
    items(decoder, None, Some(payload.as_bytes()))
}

fn trade(price: f64, size: Option<f64>) -> Body {
    Body::Trade(Trade { price, size })
}

#[test]
fn trade_with_numbers_as_text_and_numbers_is_the_same() {
    let text = json(r#"{"s":"A","t":"1700000000000","kind":"T","price":"10.5","size":"3","seq":7}"#);
    let numbers = json(r#"{"s":"A","x":{"y":[1,2]},"t":1700000000000,"kind":"trade","price":10.5,"size":3,"seq":"7"}"#);
    assert_eq!(text, numbers);
    let tick = text.tick();
    assert_eq!(tick.event_time, EventTime(1_700_000_000_000_000_000));
    assert_eq!(tick.sequence, Some(7.into()));
    assert_eq!(tick.body, trade(10.5, Some(3.0)));
}

#[test]
fn nested_pointers_reach_into_arrays() {
    let payload = r#"{"s":"A\u0042","t":1700000000000,"kind":"quote",
        "book":{"bids":[["10.1",5],[10.0,1]],"asks":[[10.2,"6"]]},"size":null}"#;
    let decoded = json(payload);
    assert_eq!(decoded.name(), "AB");
    let quote = Quote {
        bid: 10.1,
        ask: 10.2,
        bid_size: Some(5.0),
        ask_size: Some(6.0),
    };
    assert_eq!(decoded.tick().body, Body::Quote(quote));
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
        let tick = one(&decoder, None, Some(payload.as_bytes())).tick();
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
        assert_eq!(json(payload).reason(), reason, "{payload}");
    }
    let decoder = decoder(Format::Json, fields());
    assert_eq!(one(&decoder, None, None), Got::Bad(TickError::Empty));
    assert_eq!(one(&decoder, None, Some(b"")), Got::Bad(TickError::Empty));
    assert_eq!(one(&decoder, None, Some(&[b'x'; 2000])).reason(), "too_large");
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
    assert_eq!(one(&decoder, Some(b"KEY"), Some(payload)).name(), "KEY");
    assert_eq!(one(&decoder, None, Some(payload)).reason(), "bad_instrument");
    assert_eq!(one(&decoder, Some(&[0xff]), Some(payload)).reason(), "bad_instrument");
}

#[test]
fn csv_line_gives_trade_and_quote() {
    let decoder = decoder(Format::Csv, fields());
    let line = |line: &[u8]| one(&decoder, None, Some(line)).tick();
    assert_eq!(
        line(b"1700000000000000000,A,trade,1.5,2,,,,\n").body,
        trade(1.5, Some(2.0))
    );
    let body = Quote {
        bid: 1.0,
        ask: 2.0,
        bid_size: None,
        ask_size: Some(4.0),
    };
    assert_eq!(line(b"1700000000000000000,A,quote,,,1,2,,4").body, Body::Quote(body));
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
        assert_eq!(one(&decoder, None, Some(line)).reason(), reason);
    }
}

#[test]
fn malformed_pointers_are_named() {
    let problem = |json| Decoder::new(&config(Format::Json, json), &[]).unwrap_err();
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

#[test]
fn what_is_odd_in_an_optional_field_never_costs_the_tick() {
    let decoder = rules(
        r#"[[rules]]
        instrument = "/s"
        time = "/t"
        price = "/p"
        size = "/q"
        sequence = "/n""#,
    );
    for (more, size, sequence, odd) in [
        (r#""q":-1"#, None, None, &["size"][..]),
        (r#""q":{"x":1},"n":-7"#, None, None, &["size", "sequence"]),
        (r#""q":"NaN","n":"""#, None, None, &[]),
        (r#""q":2,"n":-1"#, Some(2.0), None, &["sequence"]),
        (r#""q":"2","n":18446744073709551615"#, Some(2.0), Some(u64::MAX), &[]),
        (r#""q":2,"n":1.0"#, Some(2.0), Some(1), &[]),
        (r#""q":2,"n":" 7 ""#, Some(2.0), Some(7), &[]),
        (r#""q":2,"n":true"#, Some(2.0), None, &["sequence"]),
    ] {
        let got = read(&decoder, &format!(r#"{{"s":"A","t":1700000000000,"p":1,{more}}}"#));
        let tick = Tick {
            event_time: EventTime(1_700_000_000_000_000_000),
            sequence: sequence.map(|number: u64| number.into()),
            body: trade(1.0, size),
        };
        assert_eq!(got, [Got::Tick("A".into(), tick, odd.to_vec())], "{more}");
    }
    // A price that is no number is no quote.
    let got = read(
        &decoder,
        r#"{"s":"A","t":1700000000000,"p":{"value":12.50},"b":1,"a":2}"#,
    );
    let text = "field price holds {\"value\":12.50}; expected a finite number";
    assert!(
        matches!(&got[..], [Got::Bad(error)] if error.to_string() == text),
        "{got:?}"
    );
}

#[test]
fn a_quote_that_lacks_a_side_is_counted_and_no_dead_letter() {
    let quote = |more: &str| json(&format!(r#"{{"s":"A","t":1700000000000,"kind":"quote",{more}}}"#));
    for sides in [
        r#""book":{"bids":[[null,null]],"asks":[[2,1]]}"#,
        r#""book":{"bids":[],"asks":[["2","1"]]}"#,
        r#""book":{"asks":[[2,1]]}"#,
        r#""book":{"bids":[["",""]],"asks":[[2,1]]}"#,
        r#""book":{"bids":[["NaN"]],"asks":[[2,1]]}"#,
        r#""book":{"bids":[[0,0]],"asks":[[2,1]]}"#,
        r#""book":{"bids":[[9223372036854775807,0]],"asks":[[2,1]]}"#,
    ] {
        let Got::Incomplete(name, Some(found)) = quote(sides) else {
            panic!("{sides}: {:?}", quote(sides));
        };
        assert_eq!(
            (&*name, found.bid, found.ask, found.ask_size),
            ("A", None, Some(2.0), Some(1.0))
        );
    }
    let none = quote(r#""book":{"bids":[[null,0]],"asks":[[null,0]]}"#);
    assert!(
        matches!(
            none,
            Got::Incomplete(
                _,
                Some(Sides {
                    bid: None,
                    ask: None,
                    ..
                })
            )
        ),
        "{none:?}"
    );
    // Nothing at all at either place is a layout that does not fit.
    assert_eq!(quote(r#""bid":1,"ask":2"#).reason(), "missing_field");
    assert_eq!(
        quote(r#""book":{"bids":[["x",1]],"asks":[[2,1]]}"#).reason(),
        "bad_number"
    );
    // A price of zero that has a size is a price; a trade of nothing at zero is none.
    let zero = json(r#"{"s":"A","t":1700000000000,"kind":"T","price":0,"size":1}"#);
    assert_eq!(zero.tick().body, trade(0.0, Some(1.0)));
    let nothing = json(r#"{"s":"A","t":1700000000000,"kind":"T","price":0,"size":0}"#);
    assert_eq!(nothing, Got::Incomplete("A".into(), None));
}

const STREAMS: &str = r#"
    [[rules]]
    when = { "/stream" = "*@trade", "/data/X" = "!NA" }
    instrument = "/data/s"
    time = "/data/T"
    kind = "trade"
    price = "/data/p"
    size = "/data/q"
    [[rules]]
    when = { "/stream" = "*@bookTicker" }
    instrument = "/data/s"
    time = ["/data/T", "record"]
    kind = "quote"
    bid = "/data/b"
    ask = "/data/a"
    [[rules]]
    when = { "/stream" = ["*@depth*", "*@markPrice", "*@trade"] }
    ignore = true
"#;

#[test]
fn the_first_rule_that_matches_reads_a_record() {
    let decoder = rules(STREAMS);
    let trade_of = |market: &str| {
        read(
            &decoder,
            &format!(r#"{{"stream":"a@trade","data":{{"s":"A","T":1700000000000,"p":"1.5","q":"2","X":"{market}"}}}}"#),
        )
    };
    assert_eq!(trade_of("MARKET")[0].tick().body, trade(1.5, Some(2.0)));
    assert_eq!(trade_of("NA"), [Got::Ignored]);
    let quote = read(
        &decoder,
        r#"{"stream":"a@bookTicker","data":{"s":"A","b":"1","a":"2"}}"#,
    );
    assert!(quote[0].tick().is_quote());
    assert_eq!(
        quote[0].tick().event_time,
        EventTime(1_700_000_009_000_000_000),
        "the record's own stamp"
    );
    assert_eq!(read(&decoder, r#"{"stream":"a@markPrice","data":{}}"#), [Got::Ignored]);
    let unknown = read(&decoder, r#"{"result":null,"id":1}"#);
    let text = "no rule reads it: {\"result\":null,\"id\":1}";
    assert!(
        matches!(&unknown[..], [Got::Bad(error)] if error.to_string() == text),
        "{unknown:?}"
    );
    let ignoring = ruled(STREAMS, "ticks", "ignore").unwrap();
    assert_eq!(read(&ignoring, r#"{"result":null,"id":1}"#), [Got::Ignored]);
}

const BATCHES: &str = r#"
    [[rules]]
    each = "/data"
    when = { "$/type" = "trade" }
    instrument = "/s"
    time = ["/t", "$/ts"]
    price = "/p"
    exclude = { "/c" = [37, "I"] }
    [[rules]]
    each = "/data"
    when = { "$/type" = "mixed", "/ev" = "Q" }
    instrument = "/s"
    time = "$/ts"
    kind = "quote"
    bid = "/b"
    ask = "/a"
"#;

#[test]
fn every_element_of_a_record_is_a_tick_or_is_told() {
    let decoder = rules(BATCHES);
    let got = read(
        &decoder,
        r#"{"data":[{"s":"A","t":1700000000000,"p":1},{"s":"B","p":"2"},{"s":"A","p":"x"},{"s":"C","p":4,"c":[1,37]}],
            "ts":1700000001000,"type":"trade"}"#,
    );
    assert_eq!(got.len(), 4);
    assert_eq!((got[0].name(), got[0].tick().body), ("A", trade(1.0, None)));
    assert_eq!(got[0].tick().event_time, EventTime(1_700_000_000_000_000_000));
    assert_eq!(
        got[1].tick().event_time,
        EventTime(1_700_000_001_000_000_000),
        "of the record, which comes later"
    );
    let text = "field price holds \"x\"; expected a finite number";
    assert!(
        matches!(&got[2], Got::Bad(error) if error.to_string() == text),
        "{got:?}"
    );
    assert_eq!(got[3], Got::Ignored);
    // Elements that no rule reads are told one by one.
    let got = read(
        &decoder,
        r#"{"type":"mixed","ts":1700000001000,"data":[{"ev":"Q","s":"A","b":1,"a":2},{"ev":"status"}]}"#,
    );
    assert!(got[0].tick().is_quote());
    let text = "no rule reads it: {\"ev\":\"status\"}";
    assert!(
        matches!(&got[1], Got::Bad(error) if error.to_string() == text),
        "{got:?}"
    );
    assert_eq!(read(&decoder, r#"{"type":"trade","data":[]}"#), [Got::Ignored]);
    assert_eq!(read(&decoder, r#"{"type":"trade","data":{}}"#)[0].reason(), "unmatched");
}

#[test]
fn elements_have_a_limit_and_those_before_it_are_read() {
    let decoder = rules(BATCHES);
    let element = r#"{"s":"A","t":1700000000000,"p":1}"#;
    let record = |count: usize| format!(r#"{{"type":"trade","data":[{}]}}"#, vec![element; count].join(","));
    assert_eq!(read(&decoder, &record(5)).len(), 5);
    let got = read(&decoder, &record(9));
    assert_eq!(got.len(), 6);
    assert_eq!(got[5].reason(), "too_many");
}

#[test]
fn arrays_in_arrays_and_records_that_are_arrays_are_walked() {
    let decoder = rules(
        r#"[[rules]]
        each = "$"
        instrument = "/0"
        time = "/1"
        price = "/2"
        [[rules]]
        each = "/sets/*/trades"
        instrument = "/s"
        time = "record"
        price = "/p""#,
    );
    let got = read(&decoder, r#"[["A",1700000000000,1],["B",1700000000000,2]]"#);
    assert_eq!(got.iter().map(Got::name).collect::<Vec<_>>(), ["A", "B"]);
    let got = read(
        &decoder,
        r#"{"sets":[{"trades":[{"s":"A","p":1}]},{"x":[],"trades":[{"s":"B","p":2},{"s":"C","p":true}]},{"trades":null}]}"#,
    );
    assert_eq!(got.len(), 3);
    assert_eq!((got[0].name(), got[1].name()), ("A", "B"));
    let text = "field price holds true; expected a finite number";
    assert!(
        matches!(&got[2], Got::Bad(error) if error.to_string() == text),
        "{got:?}"
    );
    assert_eq!(read(&decoder, r#"{"sets":[{"trades":[7]},{"trades":7}]}"#).len(), 2);
}

#[test]
fn names_are_made_of_fields_key_topic_and_text() {
    let name = |instrument: &str, topics: &str, key: &[u8]| {
        let text = format!("[[rules]]\ntopics = {topics}\ntime = \"/t\"\nprice = \"/p\"\n{instrument}");
        let decoder = ruled(&text, "md.ACME.trades", "dead_letter").unwrap();
        let payload = br#"{"e":"X","s":" acme ","n":4711,"t":1700000000000,"p":1}"#;
        match one(&decoder, Some(key), Some(payload)) {
            Got::Bad(error) => error.to_string(),
            got => got.name().to_owned(),
        }
    };
    let any = "[]";
    assert_eq!(name("instrument = \"/s\"", any, b""), "acme");
    assert_eq!(name("instrument = \"/n\"", any, b""), "4711");
    assert_eq!(name("instrument = [\"/e\", \":\", \"/s\"]", any, b""), "X:acme");
    assert_eq!(
        name(
            "instrument = [\"/e\", \":\", \"/s\"]\ninstrument_case = \"upper\"",
            any,
            b""
        ),
        "X:ACME"
    );
    assert_eq!(
        name("instrument = \"/s\"\ninstrument_map = { acme = \"A\" }", any, b""),
        "A"
    );
    assert_eq!(
        name(
            "instrument = [\"/s\"]\ninstrument_case = \"upper\"\ninstrument_map = { ACME = \"A\" }",
            any,
            b""
        ),
        "A"
    );
    assert_eq!(name("instrument = \"@topic*\"", "\"md.*.trades\"", b""), "ACME");
    assert_eq!(name("instrument = \"@topic\"", any, b""), "md.ACME.trades");
    assert_eq!(name("instrument = \"@key\"", any, b"KEY"), "KEY");
    assert_eq!(name("", any, b"KEY"), "KEY");
    assert_eq!(name("instrument = \"@key/\"", any, b"\"KEY\""), "KEY");
    assert_eq!(
        name(
            "instrument = \"@key/payload\"",
            any,
            br#"{"schema":{},"payload":"KEY"}"#
        ),
        "KEY"
    );
    assert_eq!(
        name("instrument = \"@key/payload/id\"", any, br#"{"payload":{"id":17}}"#),
        "17"
    );
    // A key that is no plain text never becomes a name as it stands.
    assert!(name("", any, b"\"KEY\"").contains("the record's key is JSON"));
    assert!(name("", any, br#"{"payload":"KEY"}"#).contains("the record's key is JSON"));
    assert!(name("", any, b"\0\0\0\0\x01KEY").contains("control characters"));
    assert!(name("instrument = \"@key/payload\"", any, b"KEY").contains("no such place"));
    assert!(name("instrument = \"*\"", any, b"").contains("stands for all"));
    assert!(name("instrument = \"/missing\"", any, b"").contains("nothing stands at /missing"));
    assert!(name("instrument = [\"/s\", \"0123456789012\"]", any, b"").contains("longer than"));
}

#[test]
fn a_record_can_be_trade_and_quote() {
    let decoder = rules(
        r#"[[rules]]
        instrument = "/s"
        time = "/t"
        kind = "both"
        price = "/last"
        bid = "/bid"
        ask = "/ask"
        sequence = "/n""#,
    );
    let got = read(
        &decoder,
        r#"{"s":"A","t":1700000000000,"last":"1.5","bid":"1","ask":"2","n":7}"#,
    );
    assert_eq!(got.len(), 2);
    assert_eq!(
        (got[0].tick().body, got[0].tick().sequence),
        (trade(1.5, None), Some(7.into()))
    );
    assert_eq!(
        (got[1].tick().is_quote(), got[1].tick().sequence.unwrap().written()),
        (true, None)
    );
    let got = read(
        &decoder,
        r#"{"s":"A","t":1700000000000,"last":"","bid":"1","ask":"2","n":7}"#,
    );
    assert_eq!(
        (got.len(), got[0].tick().is_quote(), got[0].tick().sequence),
        (1, true, Some(7.into()))
    );
    let got = read(
        &decoder,
        r#"{"s":"A","t":1700000000000,"last":"1.5","bid":"x","ask":"2"}"#,
    );
    assert_eq!((got[0].tick().body, got[1].reason()), (trade(1.5, None), "bad_number"));
    assert_eq!(
        read(&decoder, r#"{"s":"A","t":1700000000000}"#)[0].reason(),
        "missing_field"
    );
}

#[test]
fn numbers_of_every_form_are_read_by_rules() {
    let decoder = rules(
        r#"[[rules]]
        when = { "/k" = 1 }
        instrument = "/s"
        time = "/t/seconds"
        time_unit = "s"
        time_nanos = "/t/nanos"
        price = ["/p/units", "/p/nano"]
        price_form = "units_nano"
        size = "/q"
        size_is_signed = true
        [[rules]]
        instrument = "/s"
        time = "/t"
        price = "/p"
        price_decimals = 9
        size = "/q"
        size_form = "base64"
        size_decimals = 2"#,
    );
    let got = read(
        &decoder,
        r#"{"k":1,"s":"A","t":{"seconds":1700000000,"nanos":123456789},"p":{"units":"33","nano":70000000},"q":-0.005}"#,
    );
    let tick = got[0].tick();
    assert_eq!(
        (tick.body, tick.event_time.0),
        (trade(33.07, Some(0.005)), 1_700_000_000_123_456_789)
    );
    let got = read(
        &decoder,
        r#"{"s":"A","t":"2023-11-14T22:13:20Z","p":"3720250000000","q":"J40="}"#,
    );
    assert_eq!(got[0].tick().body, trade(3720.25, Some(101.25)));
}

#[test]
fn errors_show_the_text_that_stands_there() {
    let error = |payload: &str| match json(payload) {
        Got::Bad(error) => error.to_string(),
        got => panic!("{got:?}"),
    };
    for (payload, text) in [
        (
            r#"{"s":"A","t":18446744073709551615,"kind":"T","price":1}"#,
            "time holds 18446744073709551615; expected milliseconds since 1970",
        ),
        (
            r#"{"s":"A","t":1.795651200123456789e18,"kind":"T","price":1}"#,
            "time holds 1.795651200123456789e18; expected milliseconds since 1970",
        ),
        (
            r#"{"s":"A","t":1700000000,"kind":"T","price":1}"#,
            "time holds 1700000000, which is 1970-01-20T16:13:20Z and lies outside the configured years; is the unit \
             right?",
        ),
        (
            r#"{"s":"A","t":1700000000000,"kind":"T"}"#,
            "field price is missing: nothing stands at /price",
        ),
        (
            r#"{"s":"A","t":1700000000000,"kind":"quote"}"#,
            "field bid is missing: nothing stands at /book/bids/0/0",
        ),
        (
            r#"{"s":"A","t":1700000000000,"kind":"T","price":"1,234.5"}"#,
            "field price holds \"1,234.5\"; expected a finite number",
        ),
        (
            r#"{"s":"A","t":1700000000000,"kind":"X","price":1}"#,
            "kind holds \"X\"; expected a trade or a quote",
        ),
    ] {
        assert_eq!(error(payload), text);
    }
    assert!(error("\u{0}\u{0}\u{0}\u{0}\u{1}ACME").contains("Confluent"));
    let record = r#"{"s":"A","t":1700000000000,"kind":"T","price":1}"#;
    assert!(error(&format!("[{record},{record}]")).ends_with("a rule with each = \"$\" reads"));
    assert!(error(&format!("{record}\n{record}")).ends_with("the record holds more than one value"));
    assert!(error(&format!("{record:?}")).ends_with("as if it had been encoded twice"));
    for before in ["\u{feff}", "\u{0}\u{0}\u{0}\u{0}\u{7}", " \n"] {
        assert_eq!(json(&format!("{before}{record}")).tick().body, trade(1.0, None));
    }
    let gzip = one(&decoder(Format::Json, fields()), None, Some(&[0x1f, 0x8b, 8, 0]));
    assert!(
        matches!(&gzip, Got::Bad(error) if error.to_string().contains("gzip")),
        "{gzip:?}"
    );
}

#[test]
fn where_a_key_stands_twice_the_last_one_counts() {
    let price = |more: &str| json(&format!(r#"{{"s":"A","t":1700000000000,"kind":"T",{more}}}"#));
    assert_eq!(price(r#""price":100,"price":5"#).tick().body, trade(5.0, None));
    assert_eq!(price(r#""price":100,"price":null"#).reason(), "bad_number");
}

#[test]
fn rules_that_make_no_sense_are_named() {
    let problem = |text: &str| {
        let text = format!("[[rules]]\ntime = \"/t\"\n{text}");
        ruled(&text, "ticks", "dead_letter").err().unwrap_or_default()
    };
    for (text, expected) in [
        ("price = \"p\"", "decode: rules[0].price: "),
        ("when = { p = 1 }", "decode: rules[0].when: "),
        (
            "when = { \"/p\" = [] }",
            "decode: rules[0].when.\"/p\": expected at least one value",
        ),
        (
            "when = { \"/p\" = [\"a\", \"!b\"] }",
            "decode: rules[0].when.\"/p\": expected \"!\"",
        ),
        (
            "price = [\"/a\", \"/b\"]",
            "decode: rules[0].price: expected as many pointers",
        ),
        (
            "price_form = \"units_nano\"\nprice = \"/a\"",
            "decode: rules[0].price: expected as many pointers",
        ),
        (
            "price = \"/a\"\nprice_decimals = 19",
            "decode: rules[0].price_decimals: expected 0 to 18, found 19",
        ),
        ("instrument = \"@topic*\"", "decode: rules[0].instrument: "),
        ("instrument = \"@tpic\"", "decode: rules[0].instrument: "),
        ("time_zone = \"Mars\"", "decode: rules[0].time_zone: "),
        ("each = \"data\"", "decode: rules[0].each: "),
        (
            "price = \"/a\"\nbid = \"/a\"",
            "decode: rules[0].bid: price and bid point at the same field",
        ),
        ("topics = \"other\"\nprice = \"p\"", "decode: rules[0].price: "),
    ] {
        assert!(problem(text).starts_with(expected), "{text}: {}", problem(text));
    }
    assert!(
        ruled("[[rules]]\nprice = \"/p\"", "ticks", "ignore")
            .unwrap_err()
            .starts_with("decode: rules[0].time: ")
    );
}

#[test]
fn ticks_that_share_their_records_number_are_no_duplicates_of_each_other() {
    let decoder = rules(
        r#"[[rules]]
        each = "/data"
        instrument = "/s"
        time = "$/t"
        price = "/p"
        sequence = "$/n"
        [[rules]]
        instrument = "/s"
        time = "/t"
        price = "/p"
        sequence = ["/U", "/u"]
        sequence_mode = "range""#,
    );
    let payload = r#"{"t":1700000000000,"n":7,"data":[{"s":"A","p":1},{"s":"A","p":2},{"s":"A","p":2}]}"#;
    let numbers = |got: Vec<Got>| got.iter().map(|got| got.tick().sequence.unwrap()).collect::<Vec<_>>();
    let first = numbers(read(&decoder, payload));
    assert_eq!(first[0], 7.into());
    assert!(first[1] != first[2] && first[1].written().is_none());
    assert_eq!(
        numbers(read(&decoder, payload)),
        first,
        "the record that comes again is known"
    );
    let range = numbers(read(&decoder, r#"{"s":"A","t":1700000000000,"p":1,"U":5,"u":9}"#));
    assert_eq!((range[0].number, range[0].order), (9, Order::Covering(5)));
    let problem = ruled(
        "[[rules]]\ntime = \"/t\"\nsequence = \"/n\"\nsequence_mode = \"range\"",
        "ticks",
        "ignore",
    );
    assert!(
        problem
            .unwrap_err()
            .contains("rules[0].sequence: expected 2 for this sequence_mode, found 1")
    );
}
