//! A wall clock that is wrong, or jumps by years, loses nothing.
