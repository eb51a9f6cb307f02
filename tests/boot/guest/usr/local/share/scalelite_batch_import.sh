#!/bin/sh
# A stand-in for a script of Scalelite that no scenario runs.
