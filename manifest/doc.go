// Package manifest reads what access should be from files that people write, and writes it.
package manifest
