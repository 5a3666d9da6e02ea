#!/bin/sh
# Generates the chart's copies of rules and dashboards, and the plain manifest. A test checks that they are current.
# usage: HELM=PROGRAM generate.sh [FOLDER]; FOLDER is the repository (default) or a copy of it.
set -eu
cd "${1:-$(dirname "$0")/../..}/deploy"
mkdir -p helm/files/dashboards
rm -f helm/files/dashboards/*
cp prometheus/rules.yaml helm/files/
cp ../dashboards/*.json helm/files/dashboards/
{
  echo "# Generated from the chart by make -C deploy/e2e generate. Edit domain, client and targets, then"
  echo "#   kubectl create secret generic idaas-token-exporter --from-file=client-secret"
  echo "#   kubectl apply -f idaas-token-exporter.yaml"
  "$HELM" template idaas-token-exporter helm --skip-tests --kube-version 1.37 -f kubernetes/values.yaml |
    sed -e '/app.kubernetes.io\/managed-by: Helm/d' -e '/helm.sh\/chart: /d' -e '/^# Source: /d' -e 's/ *$//'
} >kubernetes/idaas-token-exporter.yaml
