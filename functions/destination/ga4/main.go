// A destination plugin: see README.md. The host calls the exports; main is never run.
package main

import _ "ga4/tidegate/bindings/wit_exports"

func main() {}
