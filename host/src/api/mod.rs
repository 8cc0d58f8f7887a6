//! Every route on one page. The only module that knows axum.
