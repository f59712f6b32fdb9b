"""YAML to a frozen Settings."""
