//! tapewatch from outside: one binary with every integration test, by theme.
//!
//! Each test's name is the law that it holds. Nothing sleeps for luck: whatever takes time is waited for, by a condition
//! with a deadline. Every seed is a literal of its test and stands in the message of a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that unwraps fails with the place and the reason"
)]

mod client;
mod real_kafka;

mod broker;
mod changelog;
mod market;
mod process;
mod raw_produce;
mod wait;

mod allocations;
mod cli;
mod compose;
mod demo;
mod deploy;
mod docs;
mod features;
mod feeds;
mod gate;
mod generate;
mod golden;
mod large_model;
mod laws;
mod learning;
mod memory;
mod mock_cluster;
mod prometheus;
mod restore;
mod schema;
mod secured;
mod shock;
mod tidy;
mod troubles;
mod whole_line;
