"""What de-identification keeps, empties and removes (DICOM PS3.15 2026c, Table E.1-1).

Text and bytes go unless they are listed as kept, so the table's many descriptions, comments and
labels need no list of their own; listed here is what that rule does not reach.
"""

from __future__ import annotations

BURNED_IN = ("US", "SC", "OT", "ES", "XC", "IVUS")  # modalities that draw text into pixels
TEXT_VRS = {"AE", "AS", "LO", "LT", "SH", "ST", "UC", "UR", "UT", "UN"}
BYTE_VRS = {"OB", "OD", "OF", "OL", "OV", "OW"}

KEPT_BYTES = set(
    """
    PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable ExtendedOffsetTableLengths
    LUTData ICCProfile RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData AlphaPaletteColorLookupTableData
    SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
    SegmentedBluePaletteColorLookupTableData SegmentedAlphaPaletteColorLookupTableData
    """.split()  # noqa: SIM905
)
KEPT_TEXT = set(
    """
    SpecificCharacterSet Manufacturer ManufacturerModelName SoftwareVersions CodeValue
    CodingSchemeDesignator CodingSchemeVersion CodeMeaning LongCodeValue SequenceName
    PulseSequenceName ConvolutionKernel FilterType RescaleType LUTExplanation ModalityLUTType
    PositionReferenceIndicator ReceiveCoilName TransmitCoilName ReceiveCoilManufacturerName
    ImagedNucleus ResonantNucleus AngioFlag Radiopharmaceutical CollimatorGridName
    ReconstructionMethod AttenuationCorrectionMethod ScatterCorrectionMethod
    RandomsCorrectionMethod DecayCorrection WindowCenterWidthExplanation StackID
    SegmentAlgorithmName SegmentLabel DimensionDescriptionLabel DataPathID
    DeidentificationMethod TransducerType
    """.split()  # noqa: SIM905
)
REPLACED_TEXT = {  # by dicognito
    "AccessionNumber",
    "PatientID",
    "StudyID",
}
IDENTIFYING = {  # searched for in what is written, as are names, dates and UIDs
    *("PatientID", "OtherPatientIDs", "IssuerOfPatientID", "AccessionNumber", "PatientAddress"),
    *("PatientTelephoneNumbers", "MedicalRecordLocator", "InstitutionName", "InstitutionAddress"),
    *("StationName", "DeviceSerialNumber", "AdmissionID", "ServiceEpisodeID"),
}
EMPTIED = {  # type 2
    *("PatientSex", "ContrastBolusAgent", "PatientBirthDate", "PatientBirthTime"),
    *("IssuerOfTheContainerIdentifierSequence", "IssuerOfTheSpecimenIdentifierSequence"),
    *("SpecimenPreparationSequence", "PrescriptionNotesSequence"),
    "VerifyingObserverIdentificationCodeSequence",
}
REMOVED = set(
    """
    PrivateInformation PrivateInformationCreatorUID
    PatientAge PatientSize PatientWeight PatientBodyMassIndex PregnancyStatus SmokingStatus
    PatientSexNeutered LastMenstrualDate PatientBirthName PatientMotherBirthName
    OtherPatientNames OtherPatientIDsSequence ReferencedPatientSequence ReferencedStudySequence
    ReferencedPatientPhotoSequence IssuerOfPatientIDQualifiersSequence
    IssuerOfAccessionNumberSequence SourcePatientGroupIdentificationSequence
    GroupOfPatientsIdentificationSequence PatientPrimaryLanguageCodeSequence
    PatientInsurancePlanCodeSequence PatientSpeciesCodeSequence PatientBreedCodeSequence
    BreedRegistrationSequence StrainStockSequence ResponsiblePerson ResponsiblePersonRole
    RequestAttributesSequence RequestedProcedureCodeSequence ReferencedRequestSequence
    ReferencedPerformedProcedureStepSequence PerformedProtocolCodeSequence
    PerformedProcedureCodeSequence ScheduledProcedureStepSequence ScheduledProtocolCodeSequence
    ProcedureCodeSequence ReasonForRequestedProcedureCodeSequence
    ReasonForPerformedProcedureCodeSequence AdmittingDiagnosesCodeSequence
    InstitutionCodeSequence InstitutionalDepartmentTypeCodeSequence StationAETitle
    PersonIdentificationCodeSequence PhysiciansOfRecordIdentificationSequence
    PhysiciansReadingStudyIdentificationSequence PerformingPhysicianIdentificationSequence
    ReferringPhysicianIdentificationSequence ConsultingPhysicianIdentificationSequence
    RequestingPhysicianIdentificationSequence OperatorIdentificationSequence
    ActualHumanPerformersSequence HumanPerformerCodeSequence ParticipantSequence
    VerifyingObserverSequence AuthorObserverSequence CustodialOrganizationSequence
    ContributingEquipmentSequence OriginalAttributesSequence ModifiedAttributesSequence
    NonconformingModifiedAttributesSequence EncryptedAttributesSequence DigitalSignaturesSequence
    MACParametersSequence IconImageSequence GraphicAnnotationSequence AcquisitionContextSequence
    ContentSequence DataSetTrailingPadding ReferencedDigitalSignatureSequence
    ConfidentialityCode PrivateDataElementCharacteristicsSequence TimezoneOffsetFromUTC
    DeviceSerialNumber DetectorID PlateID CassetteID GantryID UniqueDeviceIdentifier
    UDISequence DateOfLastCalibration TimeOfLastCalibration DateOfLastDetectorCalibration
    TimeOfLastDetectorCalibration DateOfSecondaryCapture ScheduledHumanPerformersSequence
    TextValue TextString PersonName EncapsulatedDocument WaveformAnnotationSequence
    InterpretationRecorder PertinentDocumentsSequence PertinentResourcesSequence
    SpecialNeeds PatientState VisitStatusID ServiceEpisodeID AdmissionID RouteOfAdmissions
    SubstanceAdministrationApproval
    ReasonForTheAttributeModification FlowIdentifierSequence EthnicGroupCodeSequence
    ContentCreatorIdentificationCodeSequence InstanceOriginStatus ModifyingDeviceID
    IntendedRecipientsOfResultsIdentificationSequence InterpretationApproverSequence
    IssuerOfAdmissionIDSequence IssuerOfServiceEpisodeIDSequence LensSpecification
    OtherClinicalTrialProtocolIDsSequence PatientPrimaryLanguageModifierCodeSequence
    PerformedStationGeographicLocationCodeSequence PerformedStationNameCodeSequence
    ScheduledStationGeographicLocationCodeSequence ScheduledStationNameCodeSequence
    ROICreatorSequence ROIInterpreterSequence ReasonForVisitCodeSequence
    ReferencedPatientAliasSequence ReferencedSOPInstanceMACSequence ResultsDistributionListSequence
    ScheduledPerformingPhysicianIdentificationSequence TransducerIdentificationSequence
    VerbalSourceIdentifierCodeSequenceTrial ManufacturerDeviceClassUID
    GPSVersionID GPSLatitudeRef GPSLatitude GPSLongitudeRef GPSLongitude GPSAltitudeRef GPSAltitude
    GPSTimeStamp GPSSatellites GPSStatus GPSMeasureMode GPSDOP GPSSpeedRef GPSSpeed GPSTrackRef
    GPSTrack GPSImgDirectionRef GPSImgDirection GPSMapDatum GPSDestLatitudeRef GPSDestLatitude
    GPSDestLongitudeRef GPSDestLongitude GPSDestBearingRef GPSDestBearing GPSDestDistanceRef
    GPSDestDistance GPSProcessingMethod GPSAreaInformation GPSDateStamp GPSDifferential
    """.split()  # noqa: SIM905
)
# sequences and their like of later editions, which pydicom 3.0 has no keywords for
REMOVED_TAGS = {
    *(0x00081301, 0x00081302, 0x00081303, 0x00081304),  # diagnoses
    *(0x00100011, 0x00100014, 0x00100015, 0x00100041, 0x00100043, 0x00100044, 0x00100046),
}
MAKERS = {"Manufacturer", "ManufacturerModelName", "SpecificCharacterSet"}
OVERLAYS = (0x5000, 0x6000)  # curves and overlays: groups 50xx and 60xx
SHORTEST = 4  # characters of a value that is searched for: shorter ones occur by chance
METHOD_CODES = (  # PS3.16 CID 7050
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
